/*
 * dnn.h
 *	  The few functions of cuDNN that convolutions need, found at run time.
 *
 * deephash is built without cuDNN and runs without it: where libcudnn.so.9 (or .8) can be
 * opened, convolutions use it.  The declarations below are of its C interface as its
 * documentation gives it, equal in versions 8 and 9: enumerations are passed as int,
 * descriptors as pointers.  dnn_facts.cu holds them against cuDNN's own header where one
 * is installed.
 */
#ifndef GPU_DNN_H
#define GPU_DNN_H

#include <dlfcn.h>
#include <initializer_list>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/choice.h"

#define DNN_OLDEST 8000 /* cudnnGetVersion() of 8.0 */

enum
{
	DNN_SUCCESS = 0,
	DNN_TYPE_FLOAT = 0,
	DNN_TYPE_HALF = 2,
	DNN_TYPE_BFLOAT16 = 9,
	DNN_NHWC = 1,
	DNN_CROSS_CORRELATION = 1,
	DNN_DEFAULT_MATH = 0, /* TF32 for float, where the GPU has it */
	DNN_TENSOR_OP_MATH = 1,
	DNN_FMA_MATH = 3, /* float stays float */
	DNN_DETERMINISTIC = 1,
	DNN_FORWARD_PRECOMP_GEMM = 1, /* the only one that may be fused without ReLU */
	DNN_RELU = 1,
	DNN_IDENTITY = 5,
	DNN_PROPAGATE_NAN = 1,
	DNN_ALGORITHMS = 8 /* the most of any way */
};

/* cudnnConvolution{Fwd,BwdData,BwdFilter}AlgoPerf_t, which are alike */
struct DnnPerf
{
	int algorithm;
	int status;
	float time;
	size_t memory;
	int determinism;
	int math;
	int reserved[3];
};

/* name, result, arguments */
#define DNN_FUNCTIONS(F)                                                                 \
	F(GetVersion, size_t, (void) )                                                       \
	F(Create, int, (void **handle))                                                      \
	F(Destroy, int, (void *handle))                                                      \
	F(SetStream, int, (void *handle, void *stream))                                      \
	F(CreateTensorDescriptor, int, (void **to))                                          \
	F(DestroyTensorDescriptor, int, (void *tensor))                                      \
	F(SetTensor4dDescriptor, int,                                                        \
	  (void *tensor, int format, int type, int n, int c, int h, int w))                  \
	F(CreateFilterDescriptor, int, (void **to))                                          \
	F(DestroyFilterDescriptor, int, (void *filter))                                      \
	F(SetFilter4dDescriptor, int,                                                        \
	  (void *filter, int type, int format, int k, int c, int h, int w))                  \
	F(CreateConvolutionDescriptor, int, (void **to))                                     \
	F(DestroyConvolutionDescriptor, int, (void *conv))                                   \
	F(SetConvolution2dDescriptor, int,                                                   \
	  (void *conv, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h,     \
	   int dilation_w, int mode, int type))                                              \
	F(SetConvolutionGroupCount, int, (void *conv, int groups))                           \
	F(SetConvolutionMathType, int, (void *conv, int math))                               \
	F(GetConvolution2dForwardOutputDim, int,                                             \
	  (const void *conv, const void *x, const void *w, int *n, int *c, int *h,           \
	   int *width))                                                                      \
	F(CreateActivationDescriptor, int, (void **to))                                      \
	F(DestroyActivationDescriptor, int, (void *act))                                     \
	F(SetActivationDescriptor, int, (void *act, int mode, int nan, double ceiling))      \
	F(GetConvolutionForwardAlgorithm_v7, int,                                            \
	  (void *handle, const void *x, const void *w, const void *conv, const void *y,      \
	   int wanted, int *found, DnnPerf *list))                                           \
	F(GetConvolutionBackwardDataAlgorithm_v7, int,                                       \
	  (void *handle, const void *w, const void *dy, const void *conv, const void *dx,    \
	   int wanted, int *found, DnnPerf *list))                                           \
	F(GetConvolutionBackwardFilterAlgorithm_v7, int,                                     \
	  (void *handle, const void *x, const void *dy, const void *conv, const void *dw,    \
	   int wanted, int *found, DnnPerf *list))                                           \
	F(GetConvolutionForwardWorkspaceSize, int,                                           \
	  (void *handle, const void *x, const void *w, const void *conv, const void *y,      \
	   int algorithm, size_t *bytes))                                                    \
	F(GetConvolutionBackwardDataWorkspaceSize, int,                                      \
	  (void *handle, const void *w, const void *dy, const void *conv, const void *dx,    \
	   int algorithm, size_t *bytes))                                                    \
	F(GetConvolutionBackwardFilterWorkspaceSize, int,                                    \
	  (void *handle, const void *x, const void *dy, const void *conv, const void *dw,    \
	   int algorithm, size_t *bytes))                                                    \
	F(ConvolutionForward, int,                                                           \
	  (void *handle, const void *alpha, const void *x_desc, const void *x,               \
	   const void *w_desc, const void *w, const void *conv, int algorithm,               \
	   void *workspace, size_t bytes, const void *beta, const void *y_desc, void *y))    \
	F(ConvolutionBiasActivationForward, int,                                             \
	  (void *handle, const void *alpha1, const void *x_desc, const void *x,              \
	   const void *w_desc, const void *w, const void *conv, int algorithm,               \
	   void *workspace, size_t bytes, const void *alpha2, const void *z_desc,            \
	   const void *z, const void *bias_desc, const void *bias, const void *act,          \
	   const void *y_desc, void *y))                                                     \
	F(ConvolutionBackwardData, int,                                                      \
	  (void *handle, const void *alpha, const void *w_desc, const void *w,               \
	   const void *dy_desc, const void *dy, const void *conv, int algorithm,             \
	   void *workspace, size_t bytes, const void *beta, const void *dx_desc, void *dx))  \
	F(ConvolutionBackwardFilter, int,                                                    \
	  (void *handle, const void *alpha, const void *x_desc, const void *x,               \
	   const void *dy_desc, const void *dy, const void *conv, int algorithm,             \
	   void *workspace, size_t bytes, const void *beta, const void *dw_desc, void *dw))

struct DnnLibrary
{
	void *opened;
#define F(name, result, arguments) result(*name) arguments;
	DNN_FUNCTIONS(F)
#undef F
};

static inline void
dnn_close(DnnLibrary *lib)
{
	if (lib->opened)
		dlclose(lib->opened);
	memset(lib, 0, sizeof(*lib));
}

/* False, with why not in text: there is none, or it lacks a function, or is too old. */
static inline bool
dnn_open(DnnLibrary *lib, char *text, size_t size)
{
	static const char *const names[] = {"libcudnn.so.9", "libcudnn.so.8"};

	memset(lib, 0, sizeof(*lib));
	for (size_t i = 0; !lib->opened && i < sizeof(names) / sizeof(names[0]); i++)
		lib->opened = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!lib->opened)
	{
		snprintf(text, size, "no libcudnn.so.9 or .8");
		return false;
	}
#define F(name, result, arguments)                                                       \
	if (!(lib->name = (result(*) arguments) dlsym(lib->opened, "cudnn" #name)))          \
	{                                                                                    \
		snprintf(text, size, "libcudnn has no cudnn" #name);                             \
		dnn_close(lib);                                                                  \
		return false;                                                                    \
	}
	DNN_FUNCTIONS(F)
#undef F
	if (lib->GetVersion() < DNN_OLDEST)
	{
		snprintf(text, size, "libcudnn is older than 8.0 (%zu)", lib->GetVersion());
		dnn_close(lib);
		return false;
	}
	snprintf(text, size, "cuDNN %zu", lib->GetVersion());
	return true;
}

/* What one convolution needs to be called. */
struct DnnPlan
{
	bool usable;
	bool fused; /* with bias and activation as well */
	int algorithm;
	size_t workspace;
	/* forward: big, low, weights; bias and activation for what is fused */
	void *big, *low, *weights, *conv, *bias, *act[2]; /* identity, ReLU */
};

struct Dnn
{
	DnnLibrary lib;
	void *handle;
	PlanTable<ConvKey, DnnPlan, 2048> plans;
};

static inline void
dnn_plan_free(const DnnLibrary *lib, DnnPlan *plan)
{
	for (void *tensor : {plan->big, plan->low, plan->bias})
		if (tensor)
			lib->DestroyTensorDescriptor(tensor);
	if (plan->weights)
		lib->DestroyFilterDescriptor(plan->weights);
	if (plan->conv)
		lib->DestroyConvolutionDescriptor(plan->conv);
	for (void *act : plan->act)
		if (act)
			lib->DestroyActivationDescriptor(act);
	memset((void *) plan, 0, sizeof(*plan));
}

/* How float32 is multiplied. */
static inline int
dnn_math(const ConvKey &k)
{
	if (k.size == 2)
		return DNN_TENSOR_OP_MATH;
	return k.tf32 ? DNN_DEFAULT_MATH : DNN_FMA_MATH;
}

/* Descriptors of a convolution; false: cuDNN cannot say it. */
static inline bool
dnn_describe(const DnnLibrary *lib, const ConvKey &k, DnnPlan *plan)
{
	int half = k.fp16 ? DNN_TYPE_HALF : DNN_TYPE_BFLOAT16;
	int type = k.size == 2 ? half : DNN_TYPE_FLOAT;
	int n, c, h, w;

	return lib->CreateTensorDescriptor(&plan->big) == DNN_SUCCESS &&
		   lib->CreateTensorDescriptor(&plan->low) == DNN_SUCCESS &&
		   lib->CreateTensorDescriptor(&plan->bias) == DNN_SUCCESS &&
		   lib->CreateFilterDescriptor(&plan->weights) == DNN_SUCCESS &&
		   lib->CreateConvolutionDescriptor(&plan->conv) == DNN_SUCCESS &&
		   lib->CreateActivationDescriptor(&plan->act[0]) == DNN_SUCCESS &&
		   lib->CreateActivationDescriptor(&plan->act[1]) == DNN_SUCCESS &&
		   lib->SetTensor4dDescriptor(plan->big, DNN_NHWC, type, k.n, k.big, k.height,
									  k.width) == DNN_SUCCESS &&
		   lib->SetTensor4dDescriptor(plan->low, DNN_NHWC, type, k.n, k.low, k.low_height,
									  k.low_width) == DNN_SUCCESS &&
		   lib->SetTensor4dDescriptor(plan->bias, DNN_NHWC, type, 1, k.low, 1, 1) ==
			   DNN_SUCCESS &&
		   lib->SetFilter4dDescriptor(plan->weights, type, DNN_NHWC, k.low,
									  k.big / k.groups, k.kh, k.kw) == DNN_SUCCESS &&
		   lib->SetConvolution2dDescriptor(plan->conv, k.ph, k.pw, k.sh, k.sw, 1, 1,
										   DNN_CROSS_CORRELATION,
										   DNN_TYPE_FLOAT) == DNN_SUCCESS &&
		   lib->SetConvolutionGroupCount(plan->conv, k.groups) == DNN_SUCCESS &&
		   lib->SetConvolutionMathType(plan->conv, dnn_math(k)) == DNN_SUCCESS &&
		   lib->SetActivationDescriptor(plan->act[0], DNN_IDENTITY, DNN_PROPAGATE_NAN,
										0) == DNN_SUCCESS &&
		   lib->SetActivationDescriptor(plan->act[1], DNN_RELU, DNN_PROPAGATE_NAN, 0) ==
			   DNN_SUCCESS &&
		   /* a transposed convolution may leave rows and columns over at the end */
		   lib->GetConvolution2dForwardOutputDim(plan->conv, plan->big, plan->weights, &n,
												 &c, &h, &w) == DNN_SUCCESS &&
		   n == k.n && c == k.low && h == k.low_height && w == k.low_width;
}

#endif
