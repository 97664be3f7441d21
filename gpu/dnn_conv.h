/*
 * dnn_conv.h
 *	  Convolutions by cuDNN; on the host, for tests, by plain loops that stand for it.
 *
 * Each function returns false where it did nothing: cuDNN is not there, has no algorithm
 * or refuses.  A dry run chooses and counts the workspace, and returns false as well, so
 * that what is done instead is counted too.
 */
#ifndef GPU_DNN_CONV_H
#define GPU_DNN_CONV_H

#include "gpu/dnn.h"
#include "gpu/op_lower.h"

static inline ConvKey
conv_key(const Machine *m, const Geometry &s, int n, ConvWay way, size_t size)
{
	ConvKey k;

	memset((void *) &k, 0, sizeof(k));
	k.n = n;
	k.height = s.height;
	k.width = s.width;
	k.big = s.big;
	k.low_height = s.low_height;
	k.low_width = s.low_width;
	k.low = s.low;
	k.kh = s.kh;
	k.kw = s.kw;
	k.sh = s.sh;
	k.sw = s.sw;
	k.ph = s.ph;
	k.pw = s.pw;
	k.groups = s.groups;
	k.way = (uint8_t) way;
	k.size = (uint8_t) size;
	k.fp16 = m->fp16;
	k.tf32 = m->tf32;
	k.deterministic = m->deterministic;
	return k;
}

#ifdef __CUDACC__

/* NULL: cuDNN is not there; text says why. */
static inline Dnn *
dnn_start(cudaStream_t stream, char *text, size_t size)
{
	Dnn *dnn = (Dnn *) calloc(1, sizeof(*dnn));

	if (!dnn || !dnn_open(&dnn->lib, text, size))
	{
		free(dnn);
		return NULL;
	}
	if (dnn->lib.Create(&dnn->handle) == DNN_SUCCESS)
	{
		if (dnn->lib.SetStream(dnn->handle, stream) == DNN_SUCCESS)
			return dnn;
		dnn->lib.Destroy(dnn->handle);
	}
	snprintf(text, size, "cuDNN does not start");
	dnn_close(&dnn->lib);
	free(dnn);
	return NULL;
}

static inline void
dnn_stop(Dnn *dnn)
{
	if (!dnn)
		return;
	for (auto &slot : dnn->plans.slot)
		if (slot.used)
			dnn_plan_free(&dnn->lib, &slot.plan);
	dnn->lib.Destroy(dnn->handle);
	dnn_close(&dnn->lib);
	free(dnn);
}

/* What the heuristics offer, best first. */
static inline int
dnn_ask(const Dnn *dnn, const ConvKey &k, const DnnPlan *p, DnnPerf *list)
{
	int n = 0, status = -1;

	if (k.way == CONV_DOWN)
		status = dnn->lib.GetConvolutionForwardAlgorithm_v7(
			dnn->handle, p->big, p->weights, p->conv, p->low, DNN_ALGORITHMS, &n, list);
	else if (k.way == CONV_UP)
		status = dnn->lib.GetConvolutionBackwardDataAlgorithm_v7(
			dnn->handle, p->weights, p->low, p->conv, p->big, DNN_ALGORITHMS, &n, list);
	else
		status = dnn->lib.GetConvolutionBackwardFilterAlgorithm_v7(
			dnn->handle, p->big, p->low, p->conv, p->weights, DNN_ALGORITHMS, &n, list);
	return status == DNN_SUCCESS ? n : 0;
}

static inline bool
dnn_workspace(const Dnn *dnn, const ConvKey &k, const DnnPlan *p, int algorithm,
			  size_t *bytes)
{
	if (k.way == CONV_DOWN)
		return dnn->lib.GetConvolutionForwardWorkspaceSize(
				   dnn->handle, p->big, p->weights, p->conv, p->low, algorithm, bytes) ==
			   DNN_SUCCESS;
	if (k.way == CONV_UP)
		return dnn->lib.GetConvolutionBackwardDataWorkspaceSize(
				   dnn->handle, p->weights, p->low, p->conv, p->big, algorithm, bytes) ==
			   DNN_SUCCESS;
	return dnn->lib.GetConvolutionBackwardFilterWorkspaceSize(
			   dnn->handle, p->big, p->low, p->conv, p->weights, algorithm, bytes) ==
		   DNN_SUCCESS;
}

/* An algorithm whose workspace fits; an offer's arithmetic is taken with it. */
static inline bool
dnn_choose(const Dnn *dnn, const ConvKey &k, DnnPlan *plan, size_t room)
{
	DnnPerf list[DNN_ALGORITHMS];
	Candidate offer[DNN_ALGORITHMS];
	int n = dnn_ask(dnn, k, plan, list), best;

	for (int i = 0; i < n; i++)
	{
		int math = dnn_math(k) == DNN_FMA_MATH ? DNN_FMA_MATH : list[i].math;

		offer[i].works =
			list[i].status == DNN_SUCCESS &&
			dnn->lib.SetConvolutionMathType(plan->conv, math) == DNN_SUCCESS &&
			dnn_workspace(dnn, k, plan, list[i].algorithm, &offer[i].workspace);
		offer[i].deterministic = list[i].determinism == DNN_DETERMINISTIC;
	}
	best = choose(offer, n, k.deterministic, room);
	if (best < 0)
		return false;
	plan->algorithm = list[best].algorithm;
	plan->workspace = offer[best].workspace;
	plan->fused = k.way == CONV_DOWN;
	return dnn->lib.SetConvolutionMathType(
			   plan->conv, dnn_math(k) == DNN_FMA_MATH ? DNN_FMA_MATH
													   : list[best].math) == DNN_SUCCESS;
}

/* NULL: not by cuDNN.  Takes the workspace, in a dry run too, where it may have `room`.
 */
static inline DnnPlan *
dnn_plan(Machine *m, const ConvKey &k, size_t room, void **workspace)
{
	bool fresh;
	DnnPlan *plan = m->dnn ? m->dnn->plans.find(k, &fresh) : NULL;

	if (!plan)
		return NULL;
	if (fresh && dnn_describe(&m->dnn->lib, k, plan))
		plan->usable = dnn_choose(m->dnn, k, plan, m->dry ? room : m->most - m->used);
	if (!plan->usable)
		return NULL;
	*workspace = take<char>(m, plan->workspace);
	return m->dry ? NULL : plan;
}

/*
 * Bias and activation in one call?  As affine() has it, ReLU is not left to a library in
 * fp16, and what is not aligned is not a bias for its kernels.
 */
static inline bool
dnn_fuses(const Machine *m, const DnnPlan *p, Epilogue e, const void *bias)
{
	if (!p->fused || alignment_of(bias) < 16)
		return false;
	if (e == EPILOGUE_BIAS_RELU)
		return !m->fp16;
	return e == EPILOGUE_BIAS && p->algorithm == DNN_FORWARD_PRECOMP_GEMM;
}

template <class T>
static bool
dnn_down(Machine *m, const Geometry &s, const T *big, const T *packed, int n, T *low,
		 bool add, const T *bias, NnActivation act)
{
	size_t keep = m->used;
	float one = 1, beta = add ? 1 : 0, none = 0;
	void *work;
	DnnPlan *p = dnn_plan(m, conv_key(m, s, n, CONV_DOWN, sizeof(T)),
						  conv_room<T>(m, s, n), &work);
	Epilogue e = epilogue_of(bias != NULL, act);
	bool relu = e == EPILOGUE_BIAS_RELU;

	m->used = keep;
	if (!p)
		return false;
	if (dnn_fuses(m, p, e, bias))
	{
		p->fused = m->dnn->lib.ConvolutionBiasActivationForward(
					   m->dnn->handle, &one, p->big, big, p->weights, packed, p->conv,
					   p->algorithm, work, p->workspace, &none, p->low, low, p->bias,
					   bias, p->act[relu], p->low, low) == DNN_SUCCESS;
		if (p->fused)
			return true;
	}
	p->usable = m->dnn->lib.ConvolutionForward(
					m->dnn->handle, &one, p->big, big, p->weights, packed, p->conv,
					p->algorithm, work, p->workspace, &beta, p->low, low) == DNN_SUCCESS;
	if (p->usable)
		finish(m, low, n * s.places, s.low, s.low, bias, act);
	return p->usable;
}

template <class T>
static bool
dnn_up(Machine *m, const Geometry &s, const T *low, const T *packed, int n, T *big,
	   bool add)
{
	size_t keep = m->used;
	float one = 1, beta = add ? 1 : 0;
	void *work;
	DnnPlan *p =
		dnn_plan(m, conv_key(m, s, n, CONV_UP, sizeof(T)), conv_room<T>(m, s, n), &work);

	m->used = keep;
	if (p)
		p->usable =
			m->dnn->lib.ConvolutionBackwardData(
				m->dnn->handle, &one, p->weights, packed, p->low, low, p->conv,
				p->algorithm, work, p->workspace, &beta, p->big, big) == DNN_SUCCESS;
	return p && p->usable;
}

/* to [low][taps][group] */
template <class T>
static bool
dnn_weight(Machine *m, const Geometry &s, const T *big, const T *low, int n, T *to)
{
	size_t keep = m->used;
	float one = 1, none = 0;
	void *work;
	DnnPlan *p = dnn_plan(m, conv_key(m, s, n, CONV_WEIGHT, sizeof(T)),
						  conv_room<T>(m, s, n), &work);

	m->used = keep;
	if (p)
		p->usable =
			m->dnn->lib.ConvolutionBackwardFilter(
				m->dnn->handle, &one, p->big, big, p->low, low, p->conv, p->algorithm,
				work, p->workspace, &none, p->weights, to) == DNN_SUCCESS;
	return p && p->usable;
}

#else

/* Element of the big map under a tap of a place; -1: outside. */
static inline long long
dnn_under(const Geometry &s, size_t place, int tap)
{
	int at = (int) (place % s.places);
	int y = at / s.low_width * s.sh - s.ph + tap / s.kw;
	int x = at % s.low_width * s.sw - s.pw + tap % s.kw;

	if (y < 0 || x < 0 || y >= s.height || x >= s.width)
		return -1;
	return (long long) ((place / s.places * s.height + y) * s.width + x) * s.big;
}

template <class T>
static bool
dnn_down(Machine *m, const Geometry &s, const T *big, const T *packed, int n, T *low,
		 bool add, const T *bias, NnActivation act)
{
	int outputs = s.low / s.groups;

	if (!m->dnn || m->dry)
		return false;
	for (size_t i = 0; i < n * s.places * s.low; i++)
	{
		int o = (int) (i % (size_t) s.low), g = o / outputs;
		float sum = add ? (float) low[i] : bias ? (float) bias[o] : 0.0f;

		for (int t = 0; t < s.taps; t++)
		{
			long long at = dnn_under(s, i / (size_t) s.low, t);

			for (int c = 0; at >= 0 && c < s.group; c++)
				sum += (float) big[at + g * s.group + c] *
					   (float) packed[((size_t) o * s.taps + t) * s.group + c];
		}
		low[i] = activate(act, sum);
	}
	return true;
}

template <class T>
static bool
dnn_up(Machine *m, const Geometry &s, const T *low, const T *packed, int n, T *big,
	   bool add)
{
	size_t count = (size_t) n * s.height * s.width * s.big;
	int outputs = s.low / s.groups;
	float *sum;

	if (!m->dnn || m->dry)
		return false;
	sum = (float *) calloc(count, sizeof(float));
	for (size_t i = 0; i < n * s.places * s.low; i++)
		for (int t = 0; t < s.taps; t++)
		{
			int o = (int) (i % (size_t) s.low), g = o / outputs;
			long long at = dnn_under(s, i / (size_t) s.low, t);

			for (int c = 0; at >= 0 && c < s.group; c++)
				sum[at + g * s.group + c] +=
					(float) low[i] *
					(float) packed[((size_t) o * s.taps + t) * s.group + c];
		}
	for (size_t i = 0; i < count; i++)
		give(&big[i], sum[i], add);
	free(sum);
	return true;
}

template <class T>
static bool
dnn_weight(Machine *m, const Geometry &s, const T *big, const T *low, int n, T *to)
{
	int outputs = s.low / s.groups;

	if (!m->dnn || m->dry)
		return false;
	for (size_t i = 0; i < (size_t) s.low * s.taps * s.group; i++)
	{
		int c = (int) (i % (size_t) s.group), t = (int) (i / (size_t) s.group) % s.taps;
		int o = (int) (i / (size_t) s.group / (size_t) s.taps);
		float sum = 0;

		for (size_t place = 0; place < n * s.places; place++)
		{
			long long at = dnn_under(s, place, t);

			if (at >= 0)
				sum += (float) low[place * s.low + o] *
					   (float) big[at + o / outputs * s.group + c];
		}
		to[i] = sum;
	}
	return true;
}

#endif

#endif
