/*
 * model_graph.h
 *	  A graph as JSON (doc/model-format.md); private to the model file's code.
 */
#ifndef NN_MODEL_GRAPH_H
#define NN_MODEL_GRAPH_H

#include <jansson.h>

#include "nn/graph.h"

#define NN_MODEL_VERSION "1"
#define NN_KEY_VERSION "deephash_format"
#define NN_KEY_ARCHITECTURE "architecture"
#define NN_KEY_GRAPH "graph"
#define NN_KEY_PREPROCESS "preprocess"
#define NN_KEY_BITS "bits"
#define NN_KEY_THRESHOLDS "thresholds"
#define NN_KEY_PROVENANCE "provenance"
#define NN_KEY_METRICS "metrics"

/* Append the nodes that the text describes to the empty graph g. */
extern bool nn_graph_from_json(const char *text, NnGraph *g, NnError *err);

/* NULL when out of memory. */
extern json_t *nn_graph_to_json(const NnGraph *g);

/* A member that is a whole number from least to most. */
extern bool nn_json_int(const json_t *object, const char *key, int least, int most,
						int *value, NnError *err);

/* Parse text as one JSON object, strictly; NULL and err otherwise. */
extern json_t *nn_json_object(const char *text, const char *what, NnError *err);

#endif
