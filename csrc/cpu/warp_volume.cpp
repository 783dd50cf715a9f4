#include "warp_volume.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void warp_volume(const WarpVolumeJob& job, int threads) {
    const WarpRows rows = X2C_CHOSEN(warp_rows);
    const int count = job.depth * job.height;
    parallel_for(count, count / (8 * threads), threads,
                 [&job, rows](int begin, int end) { rows(job, begin, end); });
}

}  // namespace x2c::cpu
