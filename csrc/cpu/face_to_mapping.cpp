#include "face_to_mapping.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void face_to_mapping(const FaceToMappingJob& job, int threads) {
    const FaceRows rows = X2C_CHOSEN(face_rows);
    const int grain = job.y.out / (4 * threads);
    parallel_for(job.y.out, grain, threads, [&job, rows](int begin, int end) { rows(job, begin, end); });
}

}  // namespace x2c::cpu
