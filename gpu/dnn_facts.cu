/*
 * dnn_facts.cu
 *	  Where cuDNN's own header is installed: does dnn.h say the same?  Makes no code.
 */
#include "gpu/dnn.h"

#if defined(__has_include)
#if __has_include(<cudnn.h>)
#include <cudnn.h>

#define SAME(ours, theirs) static_assert((int) (ours) == (int) (theirs), #theirs)
SAME(DNN_SUCCESS, CUDNN_STATUS_SUCCESS);
SAME(DNN_TYPE_FLOAT, CUDNN_DATA_FLOAT);
SAME(DNN_TYPE_HALF, CUDNN_DATA_HALF);
SAME(DNN_TYPE_BFLOAT16, CUDNN_DATA_BFLOAT16);
SAME(DNN_NHWC, CUDNN_TENSOR_NHWC);
SAME(DNN_CROSS_CORRELATION, CUDNN_CROSS_CORRELATION);
SAME(DNN_DEFAULT_MATH, CUDNN_DEFAULT_MATH);
SAME(DNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH);
SAME(DNN_FMA_MATH, CUDNN_FMA_MATH);
SAME(DNN_DETERMINISTIC, CUDNN_DETERMINISTIC);
SAME(DNN_FORWARD_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
SAME(DNN_RELU, CUDNN_ACTIVATION_RELU);
SAME(DNN_IDENTITY, CUDNN_ACTIVATION_IDENTITY);
SAME(DNN_ALGORITHMS, CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
#if CUDNN_MAJOR < 9
SAME(DNN_PROPAGATE_NAN, CUDNN_PROPAGATE_NAN);
#endif

#define SAME_PERF(Theirs)                                                                \
	static_assert(sizeof(DnnPerf) == sizeof(Theirs) &&                                   \
					  offsetof(DnnPerf, algorithm) == offsetof(Theirs, algo) &&          \
					  offsetof(DnnPerf, status) == offsetof(Theirs, status) &&           \
					  offsetof(DnnPerf, memory) == offsetof(Theirs, memory) &&           \
					  offsetof(DnnPerf, determinism) == offsetof(Theirs, determinism) && \
					  offsetof(DnnPerf, math) == offsetof(Theirs, mathType),             \
				  #Theirs)
SAME_PERF(cudnnConvolutionFwdAlgoPerf_t);
SAME_PERF(cudnnConvolutionBwdDataAlgoPerf_t);
SAME_PERF(cudnnConvolutionBwdFilterAlgoPerf_t);

/*
 * An argument of theirs and of ours go through a call alike: both are addresses, or of
 * one size and kind.
 */
template <class Ours, class Theirs> struct Alike
{
	static const bool value =
		sizeof(Ours) == sizeof(Theirs) &&
		std::is_pointer<Ours>::value == std::is_pointer<Theirs>::value &&
		std::is_floating_point<Ours>::value == std::is_floating_point<Theirs>::value;
};
template <> struct Alike<void, void>
{
	static const bool value = true;
};
template <class Ours, class Theirs> struct AlikeCall
{
	static const bool value = false;
};
template <class R, class S, class... A, class... B>
struct AlikeCall<R (*)(A...), S (*)(B...)>
{
	template <bool count, class Unused> struct Arguments
	{
		static const bool value = false;
	};
	template <class Unused> struct Arguments<true, Unused>
	{
		static const bool value = (Alike<A, B>::value && ... && true);
	};
	static const bool value =
		Alike<R, S>::value && Arguments<sizeof...(A) == sizeof...(B), void>::value;
};
#define F(name, result, arguments)                                                       \
	static_assert(AlikeCall<decltype(DnnLibrary::name), decltype(&cudnn##name)>::value,  \
				  "cudnn" #name);
DNN_FUNCTIONS(F)
#undef F

#endif
#endif
