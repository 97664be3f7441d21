/*
 * learner.cu
 *	  Training on the GPU behind nn/learner.h.
 *
 * All parameters lie one after another in one array, and their gradients, moments and
 * average in arrays of the same layout.  Every node keeps its output; gradients of
 * outputs share one arena (gradient_plan.h).  Everything is allocated in open; a dry
 * run of both passes says how much scratch memory is wanted.  Every sum has a fixed
 * order, so all runs are deterministic.
 */
#include <math.h>
#include <stdio.h>

#include "gpu/gradient_plan.h"
#include "gpu/memory.h"
#include "gpu/op.h"
#include "nn/learner.h"

#define MAX_BLOCKS (2 * NN_MAX_NODES + 32)
#define NORM_PARTS 4096

struct NnLearner
{
	NnGraph *graph;
	NnLearnerOptions options;
	Machine m;
	int nblocks;
	void *block[MAX_BLOCKS]; /* every allocation on the device */
	size_t bytes;
	size_t *at; /* per parameter, in floats */
	size_t floats;
	float *part[NN_GRADIENT + 1];
	void **value, **saved; /* per node */
	GradientPlace *place;
	bool *written;
	char *arena;
	uint8_t *images, *host_images;
	Step *step, *host_step;
	float *staged[NN_MAX_OUTPUTS], *host_out[NN_MAX_OUTPUTS];
	int *flag, *host_flag; /* per parameter: its gradient is not finite */
	double *sums, *host_sums;
	NnBatch batch;
};

static size_t
element(const NnLearner *l)
{
	return l->options.precision == NN_BF16 ? sizeof(Bf16) : sizeof(float);
}

static const NnNode *
output_of(const NnLearner *l, int k)
{
	return &l->graph->node[nn_graph_output_node(l->graph, k)];
}

static size_t
param_size(const NnLearner *l, int p)
{
	return nn_shape_size(&l->graph->param[p].shape);
}

/* --------------------------------------------------------------------- memory */

static bool
room(NnLearner *l, void *to, size_t bytes, const char *what, NnError *err)
{
	char text[NN_MAX_NAME + 96], advice[96];
	void *memory;

	snprintf(text, sizeof(text), "%s (batches of %d)", what, l->options.max_batch);
	snprintf(advice, sizeof(advice), "lower the batch%s",
			 l->options.recompute ? "" : " or turn recomputation on");
	if (!gpu_allocate(&memory, bytes, text, advice, err))
		return false;
	memcpy(to, &memory, sizeof(memory));
	if (memory)
		l->block[l->nblocks++] = memory;
	l->bytes += bytes;
	return true;
}

static bool
room_of_nodes(NnLearner *l, NnError *err)
{
	const NnGraph *g = l->graph;
	int batch = l->options.max_batch;
	char what[NN_MAX_NAME + 64];

	for (int i = 0; i < g->nnodes; i++)
	{
		const NnNode *node = &g->node[i];
		bool bf16 = l->options.precision == NN_BF16;
		size_t saved =
			bf16 ? saved_bytes<Bf16>(g, node, batch) : saved_bytes<float>(g, node, batch);

		if (l->options.recompute &&
			(node->kind == NN_ATTENTION || node->kind == NN_WINDOW_ATTENTION))
			saved = 0;

		snprintf(what, sizeof(what), "node %d (%s \"%s\")", i, nn_op_name(node->kind),
				 node->name);
		if (nn_shape_size(&node->shape) > (size_t) INT32_MAX / (size_t) batch)
			return nn_fail(err,
						   "%s makes too many values for batches of %d; lower the "
						   "batch",
						   what, batch);
		if ((node->kind == NN_CONV2D || node->kind == NN_LINEAR ||
			 node->kind == NN_CONV_TRANSPOSE2D) &&
			node->activation != NN_IDENTITY)
			return nn_fail(err,
						   "%s has an activation fused into it: training takes them as "
						   "layers of their own",
						   what);
		if (node->kind == NN_RESHAPE)
			l->value[i] = l->value[node->input[0]];
		else if (!room(l, &l->value[i],
					   (size_t) batch * nn_shape_size(&node->shape) * element(l), what,
					   err))
			return false;
		if (!room(l, &l->saved[i], saved, what, err))
			return false;
	}
	return true;
}

static bool
room_of_params(NnLearner *l, NnError *err)
{
	const NnGraph *g = l->graph;

	for (int p = 0; p < g->nparams; p++)
	{
		l->at[p] = l->floats;
		l->floats += (param_size(l, p) + 31) & ~(size_t) 31;
	}
	for (int k = NN_VALUE; k <= NN_GRADIENT; k++)
	{
		if ((k == NN_MOMENT2 && l->options.update != NN_ADAMW) ||
			(k == NN_AVERAGE && !l->options.average))
			continue;
		if (!room(l, &l->part[k], l->floats * sizeof(float), "parameters", err))
			return false;
		clear(&l->m, l->part[k], l->floats);
	}
	for (int p = 0; p < g->nparams; p++)
		for (int k = NN_VALUE; k <= NN_AVERAGE; k += NN_AVERAGE)
			if (l->part[k] && (!gpu_up(&l->m, l->part[k] + l->at[p], g->param[p].data,
									   param_size(l, p) * sizeof(float), err) ||
							   !gpu_wait(&l->m, err)))
				return false;
	return true;
}

static bool
room_of_batch(NnLearner *l, NnError *err)
{
	const NnGraph *g = l->graph;
	size_t batch = (size_t) l->options.max_batch;
	size_t pictures = batch * nn_shape_size(&g->node[0].shape);
	size_t flags = ((size_t) g->nparams + 1) * sizeof(int);

	if (!room(l, &l->images, pictures, "pictures", err) ||
		!gpu_allocate_host((void **) &l->host_images, pictures, err) ||
		!room(l, &l->step, sizeof(Step), "flags", err) ||
		!gpu_allocate_host((void **) &l->host_step, sizeof(Step), err) ||
		!room(l, &l->flag, flags, "flags", err) ||
		!gpu_allocate_host((void **) &l->host_flag, flags, err) ||
		!room(l, &l->sums, NORM_PARTS * sizeof(double), "sums", err) ||
		!gpu_allocate_host((void **) &l->host_sums, NORM_PARTS * sizeof(double), err) ||
		!room(l, &l->arena,
			  plan_gradients(g, l->options.max_batch, l->place) * element(l), "gradients",
			  err))
		return false;
	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		size_t bytes = batch * nn_shape_size(&output_of(l, k)->shape) * sizeof(float);

		if (!room(l, &l->staged[k], bytes, "outputs", err) ||
			!gpu_allocate_host((void **) &l->host_out[k], bytes, err))
			return false;
	}
	return true;
}

/* --------------------------------------------------------------------- passes */

template <class T>
static Call<T>
call_of(NnLearner *l, int i, bool train)
{
	const NnNode *node = &l->graph->node[i];
	Call<T> c;

	memset((void *) &c, 0, sizeof(c));
	c.m = &l->m;
	c.graph = l->graph;
	c.node = node;
	c.n = l->batch.n;
	c.images = l->images;
	c.out = (T *) l->value[i];
	for (int k = 0; k < node->ninputs; k++)
		c.in[k] = (const T *) l->value[node->input[k]];
	for (int p = 0; p < node->nparams; p++)
		if (node->param[p] >= 0)
			c.param[p] = l->part[NN_VALUE] + l->at[node->param[p]];
	c.train = train;
	c.step = l->step;
	c.saved = l->saved[i];
	return c;
}

static bool
node_ok(NnLearner *l, int i, const char *pass, NnError *err)
{
	const NnNode *node = &l->graph->node[i];
	const char *trouble = gpu_trouble(&l->m);
	char in[64] = "nothing", out[64];

	if (!trouble)
		return true;
	if (node->ninputs > 0)
		nn_shape_text(&l->graph->node[node->input[0]].shape, in, sizeof(in));
	return nn_fail(err, "CUDA: node %d (%s \"%s\", %s -> %s), %s, batch of %d: %s", i,
				   nn_op_name(node->kind), node->name, in,
				   nn_shape_text(&node->shape, out, sizeof(out)), pass, l->batch.n,
				   trouble);
}

template <class T>
static bool
forward_nodes(NnLearner *l, bool train, NnError *err)
{
	for (int i = 0; i < l->graph->nnodes; i++)
	{
		Call<T> c = call_of<T>(l, i, train);

		op_forward(&c);
		if (!node_ok(l, i, "forward", err))
			return false;
	}
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
	{
		const T *from = (const T *) l->value[nn_graph_output_node(l->graph, k)];
		float *to = l->staged[k];

		each(&l->m, (size_t) l->batch.n * nn_shape_size(&output_of(l, k)->shape),
			 [=] ON_GPU(size_t i) { to[i] = from[i]; });
	}
	return true;
}

template <class T>
static bool
backward_nodes(NnLearner *l, NnError *err)
{
	const NnGraph *g = l->graph;

	memset(l->written, 0, (size_t) g->nnodes * sizeof(bool));
	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		int i = nn_graph_output_node(g, k);
		const float *from = l->staged[k];
		T *to = (T *) l->arena + l->place[i].begin;

		if (l->place[i].wanted)
			each(&l->m, (size_t) l->batch.n * nn_shape_size(&g->node[i].shape),
				 [=] ON_GPU(size_t e) { to[e] = from[e]; });
		l->written[i] = true;
	}
	for (int i = g->nnodes - 1; i >= 0; i--)
	{
		const NnNode *node = &g->node[i];
		Call<T> c = call_of<T>(l, i, true);

		if (!l->place[i].wanted)
			continue;
		c.grad_out = (const T *) l->arena + l->place[i].begin;
		for (int k = 0; k < node->ninputs; k++)
		{
			int from = node->input[k];

			if (!l->place[from].wanted)
				continue;
			c.grad_in[k] = (T *) l->arena + l->place[from].begin;
			c.add[k] = l->written[from];
			l->written[from] = true;
		}
		for (int p = 0; p < node->nparams; p++)
			if (node->param[p] >= 0 && g->param[node->param[p]].trainable)
				c.grad_param[p] = l->part[NN_GRADIENT] + l->at[node->param[p]];
		op_backward(&c);
		if (!node_ok(l, i, "backward", err))
			return false;
	}
	return true;
}

static bool
run_nodes(NnLearner *l, bool forward, bool train, NnError *err)
{
	if (l->options.precision == NN_BF16)
		return forward ? forward_nodes<Bf16>(l, train, err)
					   : backward_nodes<Bf16>(l, err);
	return forward ? forward_nodes<float>(l, train, err) : backward_nodes<float>(l, err);
}

/* --------------------------------------------------------------- open and close */

static void
cuda_close(NnLearner *l)
{
	NnError ignored;

	if (!l)
		return;
	gpu_wait(&l->m, &ignored);
	for (int i = 0; i < l->nblocks; i++)
		gpu_free(l->block[i]);
	gpu_free_host(l->host_images);
	gpu_free_host(l->host_step);
	gpu_free_host(l->host_flag);
	gpu_free_host(l->host_sums);
	for (int k = 0; k < NN_MAX_OUTPUTS; k++)
		gpu_free_host(l->host_out[k]);
	gpu_stop(&l->m);
	free(l->at);
	free(l->value);
	free(l->saved);
	free(l->place);
	free(l->written);
	free(l);
}

static bool
prepare(NnLearner *l, NnError *err)
{
	size_t nodes = (size_t) l->graph->nnodes;

	l->at = (size_t *) calloc((size_t) l->graph->nparams + 1, sizeof(size_t));
	l->value = (void **) calloc(nodes, sizeof(void *));
	l->saved = (void **) calloc(nodes, sizeof(void *));
	l->place = (GradientPlace *) calloc(nodes, sizeof(GradientPlace));
	l->written = (bool *) calloc(nodes, sizeof(bool));
	if (!l->at || !l->value || !l->saved || !l->place || !l->written)
		return nn_fail(err, "out of memory for %zu nodes", nodes);
	if (!gpu_start(&l->m, l->options.precision == NN_TF32, err) ||
		!room_of_params(l, err) || !room_of_nodes(l, err) || !room_of_batch(l, err))
		return false;
	l->batch.n = l->options.max_batch;
	l->m.dry = true;
	if (!run_nodes(l, true, true, err) || !run_nodes(l, false, true, err))
		return false;
	l->m.dry = false;
	return room(l, &l->m.scratch, l->m.most, "scratch", err) && gpu_wait(&l->m, err);
}

static NnLearner *
cuda_open(NnGraph *graph, const NnLearnerOptions *options, NnError *err)
{
	NnLearner *l;

	if (!nn_graph_ok(graph, err))
		return NULL;
	l = (NnLearner *) calloc(1, sizeof(*l));
	if (!l)
	{
		nn_fail(err, "out of memory");
		return NULL;
	}
	l->graph = graph;
	l->options = *options;
	if (prepare(l, err))
		return l;
	cuda_close(l);
	return NULL;
}

/* ----------------------------------------------------------------------- steps */

static bool
cuda_forward(NnLearner *l, const NnBatch *batch, bool train,
			 const float *out[NN_MAX_OUTPUTS], NnError *err)
{
	size_t bytes = (size_t) batch->n * nn_shape_size(&l->graph->node[0].shape);

	if (batch->n < 1 || batch->n > l->options.max_batch)
		return nn_fail(err, "a batch of %d images: this learner was opened for 1 to %d",
					   batch->n, l->options.max_batch);
	l->batch = *batch;
	memcpy(l->host_images, batch->images, bytes);
	*l->host_step = Step{batch->seed, batch->first, batch->momentum};
	if (!gpu_up(&l->m, l->step, l->host_step, sizeof(Step), err) ||
		!gpu_up(&l->m, l->images, l->host_images, bytes, err) ||
		!run_nodes(l, true, train, err))
		return false;
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
	{
		if (!gpu_down(&l->m, l->host_out[k], l->staged[k],
					  (size_t) batch->n * nn_shape_size(&output_of(l, k)->shape) *
						  sizeof(float),
					  err))
			return false;
		out[k] = l->host_out[k];
	}
	return gpu_wait(&l->m, err);
}

static bool
cuda_backward(NnLearner *l, const float *const *grad_out, bool accumulate, NnError *err)
{
	if (!accumulate)
		clear(&l->m, l->part[NN_GRADIENT], l->floats);
	for (int k = 0; k < nn_graph_outputs(l->graph); k++)
	{
		size_t count = (size_t) l->batch.n * nn_shape_size(&output_of(l, k)->shape);

		if (!grad_out[k])
			clear(&l->m, l->staged[k], count);
		else if (!gpu_up(&l->m, l->staged[k], grad_out[k], count * sizeof(float), err))
			return false;
	}
	return run_nodes(l, false, true, err) && gpu_wait(&l->m, err);
}

/* The outputs are on the host; gradients are asked for there. */
static int
cuda_not_finite(NnLearner *l, char *name, size_t size, NnError *err)
{
	const NnGraph *g = l->graph;

	for (int k = 0; k < nn_graph_outputs(g); k++)
	{
		size_t count = (size_t) l->batch.n * nn_shape_size(&output_of(l, k)->shape);

		for (size_t i = 0; i < count; i++)
			if (!isfinite(l->host_out[k][i]))
			{
				snprintf(name, size, "%s", nn_layer_name(g, output_of(l, k)));
				return 1;
			}
	}
	clear(&l->m, (float *) l->flag, (size_t) g->nparams + 1);
	for (int p = 0; p < g->nparams; p++)
	{
		const float *grad = l->part[NN_GRADIENT] + l->at[p];
		int *flag = l->flag + p;

		/* whoever writes, writes the same */
		each(&l->m, param_size(l, p),
			 [=] ON_GPU(size_t i)
			 {
				 if (!(fabsf(grad[i]) <= 3.402823466e38f))
					 *flag = 1;
			 });
	}
	if (!gpu_down(&l->m, l->host_flag, l->flag, (size_t) g->nparams * sizeof(int), err) ||
		!gpu_wait(&l->m, err))
		return -1;
	for (int p = 0; p < g->nparams; p++)
		if (l->host_flag[p])
		{
			snprintf(name, size, "%s", g->param[p].name);
			return 1;
		}
	return 0;
}

/* Length of the whole gradient; padding and fixed parameters hold zeros. */
static bool
gradient_norm(NnLearner *l, double *norm, NnError *err)
{
	const float *grad = l->part[NN_GRADIENT];
	size_t floats = l->floats;
	double *sums = l->sums, sum = 0;

	each(&l->m, NORM_PARTS,
		 [=] ON_GPU(size_t i)
		 {
			 double part = 0;

			 for (size_t k = i; k < floats; k += NORM_PARTS)
				 part += (double) grad[k] * (double) grad[k];
			 sums[i] = part;
		 });
	if (!gpu_down(&l->m, l->host_sums, sums, NORM_PARTS * sizeof(double), err) ||
		!gpu_wait(&l->m, err))
		return false;
	for (int i = 0; i < NORM_PARTS; i++)
		sum += l->host_sums[i];
	*norm = sqrt(sum);
	return true;
}

static void
update_sgd(NnLearner *l, int param, const NnUpdate *u, float clip)
{
	float *p = l->part[NN_VALUE] + l->at[param], *m = l->part[NN_MOMENT1] + l->at[param];
	const float *grad = l->part[NN_GRADIENT] + l->at[param];
	float rate = (float) (u->rate * u->rate_of[param]);
	float decay = (float) (u->decay * u->decay_of[param]);
	float mu = (float) u->momentum;

	each(&l->m, param_size(l, param),
		 [=] ON_GPU(size_t i)
		 {
			 float g = clip * grad[i] + decay * p[i];

			 m[i] = mu * m[i] + g;
			 p[i] -= rate * (g + mu * m[i]);
		 });
}

static void
update_adamw(NnLearner *l, int param, const NnUpdate *u, float clip)
{
	float *p = l->part[NN_VALUE] + l->at[param], *m = l->part[NN_MOMENT1] + l->at[param];
	float *v = l->part[NN_MOMENT2] + l->at[param];
	const float *grad = l->part[NN_GRADIENT] + l->at[param];
	double rate = u->rate * u->rate_of[param], b1 = u->beta1, b2 = u->beta2;
	double shrink = rate * u->decay * u->decay_of[param], eps = u->eps;
	double scale = rate / (1 - pow(b1, (double) u->step));
	double unbias = 1 / (1 - pow(b2, (double) u->step));

	each(&l->m, param_size(l, param),
		 [=] ON_GPU(size_t i)
		 {
			 double g = (double) (clip * grad[i]);
			 double first = b1 * (double) m[i] + (1 - b1) * g;
			 double second = b2 * (double) v[i] + (1 - b2) * g * g;

			 m[i] = (float) first;
			 v[i] = (float) second;
			 p[i] = (float) ((double) p[i] - shrink * (double) p[i] -
							 scale * first / (sqrt(second * unbias) + eps));
		 });
}

static bool
cuda_update(NnLearner *l, const NnUpdate *u, double *norm, NnError *err)
{
	double length = 0;

	if (u->clip > 0 && !gradient_norm(l, &length, err))
		return false;
	for (int p = 0; p < l->graph->nparams; p++)
	{
		float clip = u->clip > 0 && length > u->clip ? (float) (u->clip / length) : 1.0f;

		if (!l->graph->param[p].trainable)
			continue;
		if (l->options.update == NN_ADAMW)
			update_adamw(l, p, u, clip);
		else
			update_sgd(l, p, u, clip);
	}
	if (norm)
		*norm = length;
	return gpu_wait(&l->m, err);
}

static bool
cuda_average(NnLearner *l, double weight, bool back, NnError *err)
{
	float *average = l->part[NN_AVERAGE], *value = l->part[NN_VALUE];
	float w = (float) weight;

	if (!average)
		return nn_fail(err, "no average of the weights is kept");
	each(&l->m, l->floats,
		 [=] ON_GPU(size_t i)
		 {
			 average[i] += w * (value[i] - average[i]);
			 if (back)
				 value[i] = average[i];
		 });
	return gpu_wait(&l->m, err);
}

/* ----------------------------------------------------------- reading and writing */

static bool
cuda_has(const NnLearner *l, int param, NnPart part)
{
	return l->part[part] &&
		   (part == NN_VALUE || part == NN_AVERAGE || l->graph->param[param].trainable);
}

static bool
cuda_read(NnLearner *l, int param, NnPart part, float *host, NnError *err)
{
	if (!cuda_has(l, param, part))
		return nn_fail(err, "\"%s\" has no such part", l->graph->param[param].name);
	return gpu_down(&l->m, host, l->part[part] + l->at[param],
					param_size(l, param) * sizeof(float), err) &&
		   gpu_wait(&l->m, err);
}

static bool
cuda_write(NnLearner *l, int param, NnPart part, const float *host, NnError *err)
{
	if (!cuda_has(l, param, part) || part == NN_GRADIENT)
		return nn_fail(err, "\"%s\" has no such part to write",
					   l->graph->param[param].name);
	return gpu_up(&l->m, l->part[part] + l->at[param], host,
				  param_size(l, param) * sizeof(float), err) &&
		   gpu_wait(&l->m, err);
}

static size_t
cuda_memory(const NnLearner *l)
{
	return l->bytes + gpu_held(&l->m);
}

extern "C" bool gpu_probe(char *text, size_t size);
extern "C" const NnLearnerDevice *deephash_learner(void);

static const NnLearnerDevice cuda_learner = {
	NN_LEARNER_API, "cuda",		   gpu_probe,		cuda_open,	 cuda_close,
	cuda_forward,	cuda_backward, cuda_not_finite, cuda_update, cuda_average,
	cuda_has,		cuda_read,	   cuda_write,		cuda_memory};

extern "C" const NnLearnerDevice *
deephash_learner(void)
{
	return &cuda_learner;
}
