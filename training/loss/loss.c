/*
 * loss.c
 *	  The registry of losses.
 */
#include "training/loss/loss_internal.h"

#include <string.h>

static const Loss *const losses[] = {&loss_orthohash, &loss_csq};

#define NLOSSES ((int) (sizeof losses / sizeof losses[0]))

const Loss *
loss_at(int i)
{
	return i >= 0 && i < NLOSSES ? losses[i] : NULL;
}

const Loss *
loss_find(const char *name)
{
	for (int i = 0; i < NLOSSES; i++)
		if (strcmp(losses[i]->name, name) == 0)
			return losses[i];
	return NULL;
}

int
loss_labelled(const LossInput *in)
{
	int labelled = 0;

	for (int i = 0; i < in->n; i++)
		labelled += loss_label_count(in, i) > 0;
	return labelled;
}

double
loss_eval_mixed(const Loss *loss, const LossInput *in, const uint64_t *partner,
				double share, const LossOptions *opt, const double *u, double *grad,
				double *room)
{
	double own = loss->eval(in, opt, u, grad);
	LossInput other = *in;
	double mixed;

	if (!partner)
		return own;
	other.labels = partner;
	mixed = loss->eval(&other, opt, u, room);
	for (size_t i = 0; i < (size_t) in->n * in->bits; i++)
		grad[i] = share * grad[i] + (1 - share) * room[i];
	return share * own + (1 - share) * mixed;
}
