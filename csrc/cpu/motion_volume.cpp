#include "motion_volume.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void motion_volume(const MotionVolumeJob& job, int threads) {
    const MotionSlices slices = X2C_CHOSEN(motion_slices);
    const int first = job.background ? 0 : job.depth;
    const int count = (job.keypoints + 1) * job.depth - first;
    parallel_for(count, count / (8 * threads), threads,
                 [&job, slices, first](int begin, int end) { slices(job, first + begin, first + end); });
}

}  // namespace x2c::cpu
