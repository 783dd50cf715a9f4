#include "motion_volume.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void motion_volume(const MotionVolumeJob& job, int threads) {
    MotionSlices slices = baseline::motion_slices;
#if defined(X2C_HAVE_AVX2)
    if (current_variant() == Variant::kAvx2) slices = avx2::motion_slices;
#elif defined(X2C_HAVE_NEON)
    if (current_variant() == Variant::kNeon) slices = neon::motion_slices;
#endif
    const int first = job.background ? 0 : job.depth;
    const int count = (job.keypoints + 1) * job.depth - first;
    parallel_for(count, count / (8 * threads), threads,
                 [&job, slices, first](int begin, int end) { slices(job, first + begin, first + end); });
}

}  // namespace x2c::cpu
