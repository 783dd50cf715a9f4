#include "crop_normalize.h"

#include "thread_pool.h"
#include "variants.h"

namespace x2c::cpu {

void crop_normalize(const CropJob& job, int threads) {
    CropRows rows = baseline::crop_rows;
#if defined(X2C_HAVE_AVX2)
    if (current_variant() == Variant::kAvx2) rows = avx2::crop_rows;
#elif defined(X2C_HAVE_NEON)
    if (current_variant() == Variant::kNeon) rows = neon::crop_rows;
#endif
    const int grain = job.out_height / (4 * threads);
    parallel_for(job.out_height, grain, threads, [&job, rows](int begin, int end) { rows(job, begin, end); });
}

}  // namespace x2c::cpu
