#include "crop_normalize.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void crop_normalize(const CropJob& job, int threads) {
    const CropRows rows = X2C_CHOSEN(crop_rows);
    const int grain = job.out_height / (4 * threads);
    parallel_for(job.out_height, grain, threads, [&job, rows](int begin, int end) { rows(job, begin, end); });
}

}  // namespace x2c::cpu
