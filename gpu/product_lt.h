/*
 * product_lt.h
 *	  Products by cuBLASLt: plans, chosen once per problem, and their calls.
 *
 * A plan is the first that cuBLASLt's heuristics offer, a function of the problem, the
 * GPU and the library: nothing is timed, so a run repeats.  Only algorithms that add up
 * partial sums in the workspace, in float32, are asked for: those that add them up in the
 * result depend on who comes first, or round on the way.
 */
#ifndef GPU_PRODUCT_LT_H
#define GPU_PRODUCT_LT_H

#include <cublasLt.h>

static inline cudaDataType_t
type_of(const float *)
{
	return CUDA_R_32F;
}

static inline cudaDataType_t
type_of(const Bf16 *)
{
	return CUDA_R_16BF;
}

struct LtPlan
{
	bool usable;
	cublasLtMatmulDesc_t product;
	cublasLtMatrixLayout_t a, b, c; /* as cublasLt names them: a is our b */
	cublasLtMatmulAlgo_t algorithm;
	size_t workspace;
};

struct Lt
{
	cublasLtHandle_t handle;
	PlanTable<ProductKey, LtPlan, 2048> plans;
};

static inline void
lt_stop(Lt *lt)
{
	if (!lt)
		return;
	for (auto &slot : lt->plans.slot)
	{
		if (slot.plan.product)
			cublasLtMatmulDescDestroy(slot.plan.product);
		for (cublasLtMatrixLayout_t layout : {slot.plan.a, slot.plan.b, slot.plan.c})
			if (layout)
				cublasLtMatrixLayoutDestroy(layout);
	}
	if (lt->handle)
		cublasLtDestroy(lt->handle);
	free(lt);
}

/* NULL: cuBLASLt does not start; cuBLAS does without. */
static inline Lt *
lt_start(void)
{
	Lt *lt = (Lt *) calloc(1, sizeof(*lt));

	if (lt && cublasLtCreate(&lt->handle) == CUBLAS_STATUS_SUCCESS)
		return lt;
	if (lt)
		lt->handle = NULL;
	lt_stop(lt);
	return NULL;
}

template <class V>
static bool
lt_set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t what, V value)
{
	return cublasLtMatmulDescSetAttribute(product, what, &value, sizeof(value)) ==
		   CUBLAS_STATUS_SUCCESS;
}

template <class V>
static bool
lt_wish(cublasLtMatmulPreference_t wish, cublasLtMatmulPreferenceAttributes_t what,
		V value)
{
	return cublasLtMatmulPreferenceSetAttribute(wish, what, &value, sizeof(value)) ==
		   CUBLAS_STATUS_SUCCESS;
}

/* A matrix as it is stored: its rows are cublasLt's columns. */
template <class T>
static bool
lt_layout(cublasLtMatrixLayout_t *layout, const Matrix<T> &m, size_t rows, size_t cols,
		  int batch)
{
	uint64_t stored_rows = m.across ? cols : rows, stored_cols = m.across ? rows : cols;
	int32_t count = batch;
	int64_t step = m.step;

	if (cublasLtMatrixLayoutCreate(layout, type_of(m.data), stored_cols, stored_rows,
								   m.row) != CUBLAS_STATUS_SUCCESS)
	{
		*layout = NULL;
		return false;
	}
	return batch == 1 || (cublasLtMatrixLayoutSetAttribute(
							  *layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
							  sizeof(count)) == CUBLAS_STATUS_SUCCESS &&
						  cublasLtMatrixLayoutSetAttribute(
							  *layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step,
							  sizeof(step)) == CUBLAS_STATUS_SUCCESS);
}

static inline cublasLtEpilogue_t
lt_epilogue(Epilogue e)
{
	switch (e)
	{
		case EPILOGUE_BIAS:
			return CUBLASLT_EPILOGUE_BIAS;
		case EPILOGUE_RELU:
			return CUBLASLT_EPILOGUE_RELU;
		case EPILOGUE_BIAS_RELU:
			return CUBLASLT_EPILOGUE_RELU_BIAS;
		case EPILOGUE_SUM:
			return CUBLASLT_EPILOGUE_BGRADB;
		default:
			return CUBLASLT_EPILOGUE_DEFAULT;
	}
}

template <class T, class U>
static bool
lt_describe(const Machine *m, const Product<T, U> &p, LtPlan *plan)
{
	cublasComputeType_t kind =
		sizeof(T) == 4 && m->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;

	if (cublasLtMatmulDescCreate(&plan->product, kind, CUDA_R_32F) !=
		CUBLAS_STATUS_SUCCESS)
	{
		plan->product = NULL;
		return false;
	}
	return lt_set<int32_t>(plan->product, CUBLASLT_MATMUL_DESC_TRANSA,
						   p.b.across ? CUBLAS_OP_T : CUBLAS_OP_N) &&
		   lt_set<int32_t>(plan->product, CUBLASLT_MATMUL_DESC_TRANSB,
						   p.a.across ? CUBLAS_OP_T : CUBLAS_OP_N) &&
		   lt_set<uint32_t>(plan->product, CUBLASLT_MATMUL_DESC_EPILOGUE,
							lt_epilogue(p.epilogue)) &&
		   (!p.bias || lt_set<const void *>(plan->product,
											CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias)) &&
		   lt_layout(&plan->a, p.b, p.depth, (size_t) p.cols, p.batch) &&
		   lt_layout(&plan->b, p.a, p.rows, p.depth, p.batch) &&
		   lt_layout(&plan->c, p.c, p.rows, (size_t) p.cols, p.batch);
}

/* Ask the heuristics. */
static inline bool
lt_choose(Machine *m, const ProductKey &key, LtPlan *plan)
{
	cublasLtMatmulPreference_t wish;
	cublasLtMatmulHeuristicResult_t found[8];
	int n = 0;

	if (cublasLtMatmulPreferenceCreate(&wish) != CUBLAS_STATUS_SUCCESS)
		return false;
	if (!lt_wish<uint64_t>(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
						   m->room.product) ||
		!lt_wish<uint32_t>(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
						   CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) ||
		!lt_wish<uint32_t>(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
						   (uint32_t) key.align[1]) ||
		!lt_wish<uint32_t>(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
						   (uint32_t) key.align[0]) ||
		!lt_wish<uint32_t>(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
						   (uint32_t) key.align[2]) ||
		!lt_wish<uint32_t>(wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
						   (uint32_t) key.align[2]) ||
		cublasLtMatmulAlgoGetHeuristic(m->lt->handle, plan->product, plan->a, plan->b,
									   plan->c, plan->c, wish, 8, found,
									   &n) != CUBLAS_STATUS_SUCCESS)
		n = 0;
	cublasLtMatmulPreferenceDestroy(wish);
	for (int i = 0; i < n; i++)
		if (found[i].state == CUBLAS_STATUS_SUCCESS &&
			found[i].workspaceSize <= m->room.product)
		{
			plan->algorithm = found[i].algo;
			plan->workspace = found[i].workspaceSize;
			return true;
		}
	return false;
}

template <class T, class U>
static ProductKey
key_of(const Machine *m, const Product<T, U> &p)
{
	ProductKey key;

	memset((void *) &key, 0, sizeof(key));
	key.rows = p.rows;
	key.depth = p.depth;
	key.cols = p.cols;
	key.batch = p.batch;
	key.row[0] = p.a.row;
	key.row[1] = p.b.row;
	key.row[2] = p.c.row;
	key.align[0] = alignment_of(p.a.data);
	key.align[1] = alignment_of(p.b.data);
	key.align[2] = alignment_of(p.c.data);
	key.step[0] = p.a.step;
	key.step[1] = p.b.step;
	key.step[2] = p.c.step;
	key.across[0] = p.a.across;
	key.across[1] = p.b.across;
	key.size[0] = sizeof(T);
	key.size[1] = sizeof(U);
	key.epilogue = (uint8_t) p.epilogue;
	key.add = p.beta != 0;
	key.tf32 = m->tf32;
	return key;
}

/* False: cublasLt has no algorithm for it, and nothing was done. */
template <class T, class U>
static bool
product_lt(Machine *m, const Product<T, U> &p)
{
	ProductKey key = key_of(m, p);
	bool fresh;
	LtPlan *plan = fusible(p) ? m->lt->plans.find(key, &fresh) : NULL;

	if (!plan)
		return false;
	if (fresh)
		plan->usable = lt_describe(m, p, plan) && lt_choose(m, key, plan);
	if (!plan->usable || m->dry)
		return plan->usable;
	if (p.bias &&
		!lt_set<const void *>(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias))
		return false;
	plan->usable = cublasLtMatmul(m->lt->handle, plan->product, &p.alpha, p.b.data,
								  plan->a, p.a.data, plan->b, &p.beta, p.c.data, plan->c,
								  p.c.data, plan->c, &plan->algorithm, m->workspace,
								  plan->workspace, m->stream) == CUBLAS_STATUS_SUCCESS;
	return plan->usable;
}

#endif
