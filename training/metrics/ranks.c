/*
 * ranks.c
 *	  The place of a class among the logits of a picture (ranks.h).
 */
#include "training/metrics/ranks.h"

#include <math.h>

int
ranks_of(const float *logits, int n, int c)
{
	int above = 0;

	for (int i = 0; i < n; i++)
		above += logits[i] > logits[c] || (logits[i] == logits[c] && i < c);
	return above;
}

int
ranks_top(const float *logits, int n, int k, int *top)
{
	int have = 0;

	for (int i = 0; i < n; i++)
	{
		int at = have < k ? have : k;

		while (at > 0 && logits[i] > logits[top[at - 1]])
		{
			if (at < k)
				top[at] = top[at - 1];
			at--;
		}
		if (at < k)
		{
			top[at] = i;
			have += have < k;
		}
	}
	return have;
}

double
ranks_probability(const float *logits, int n, int c)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += exp((double) logits[i] - logits[c]);
	return 1 / sum;
}
