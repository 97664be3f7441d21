/*
 * kernels.c
 *	  Choosing the inner loops for this CPU.
 */
#include <stddef.h>

#include "nn/kernels.h"
#include "nn/op.h"

/* Best first. */
static const NnKernels *const all[] = {
#if defined(__x86_64__)
	&nn_kernels_avx512, &nn_kernels_avx2,
#endif
	&nn_kernels_portable, NULL};

const NnKernels *
nn_kernels_at(int i)
{
	return i >= 0 && (size_t) i < sizeof(all) / sizeof(all[0]) ? all[i] : NULL;
}

/* The answer is the same at every call, so nothing is remembered. */
const NnKernels *
nn_kernels(void)
{
	const NnKernels *const *k = all;

	while (!(*k)->available())
		k++;
	return *k;
}

void
nn_activate(NnActivation act, const float *x, float *y, size_t n)
{
	nn_kernels()->activate(act, x, y, n);
}

void
nn_activate_backward(NnActivation act, const float *x, const float *dy, float *dx,
					 size_t n, bool add)
{
	nn_kernels()->activate_backward(act, x, dy, dx, n, add);
}
