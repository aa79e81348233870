// The inference kernels for one instruction set, ITES_FAST_ISA.
#include "infer.h"
#include "mlp.h"
#include "student.h"

namespace ites_fast {

#define ITES_FAST_STRING_OF(x) #x
#define ITES_FAST_STRING(x) ITES_FAST_STRING_OF(x)
#define ITES_FAST_JOIN_OF(a, b) a##b
#define ITES_FAST_JOIN(a, b) ITES_FAST_JOIN_OF(a, b)

extern const InferKernel ITES_FAST_JOIN(infer_, ITES_FAST_ISA);
const InferKernel ITES_FAST_JOIN(infer_, ITES_FAST_ISA) = {ITES_FAST_STRING(ITES_FAST_ISA), student_scratch,
                                                           run_student, mlp_scratch, run_mlp};

}  // namespace ites_fast
