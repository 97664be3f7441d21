/*
 * names.h
 *	  What a parameter is called in a file from elsewhere.
 */
#ifndef TRAIN_IMPORT_NAMES_H
#define TRAIN_IMPORT_NAMES_H

#include "nn/safetensors.h"

/*
 * The tensor of a parameter, by its own name (timm's, for transformers) or by the one
 * that torchvision or an older timm give it; NULL: the file has none.
 */
extern const NnTensor *import_tensor(const NnSafetensors *st, const char *param);

#endif
