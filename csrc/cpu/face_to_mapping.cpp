#include "face_to_mapping.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void face_to_mapping(const FaceToMappingJob& job, int threads) {
    FaceRows rows = baseline::face_rows;
#if defined(X2C_HAVE_AVX2)
    if (current_variant() == Variant::kAvx2) rows = avx2::face_rows;
#elif defined(X2C_HAVE_NEON)
    if (current_variant() == Variant::kNeon) rows = neon::face_rows;
#endif
    const int grain = job.y.out / (4 * threads);
    parallel_for(job.y.out, grain, threads, [&job, rows](int begin, int end) { rows(job, begin, end); });
}

}  // namespace x2c::cpu
