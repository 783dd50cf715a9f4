#include "warp_volume.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void warp_volume(const WarpVolumeJob& job, int threads) {
    WarpRows rows = baseline::warp_rows;
#if defined(X2C_HAVE_AVX2)
    if (current_variant() == Variant::kAvx2) rows = avx2::warp_rows;
#elif defined(X2C_HAVE_NEON)
    if (current_variant() == Variant::kNeon) rows = neon::warp_rows;
#endif
    const int count = job.depth * job.height;
    parallel_for(count, count / (8 * threads), threads,
                 [&job, rows](int begin, int end) { rows(job, begin, end); });
}

}  // namespace x2c::cpu
