/*
 * codefile.h
 *	  Codes as text: lines "name <TAB> code <TAB> label[,label...]".
 *
 * What `encode` writes, COPY reads and COPY writes again.  A code is hexadecimal, or
 * binary digits as b'0101' where its length is no multiple of four; bit 0 comes first.
 */
#ifndef TRAIN_CODEFILE_H
#define TRAIN_CODEFILE_H

#include "training/metrics/metrics.h"

#include <stdio.h>

/* A code's text; size must hold bits + 4 bytes. */
extern void codefile_format(const uint8_t *code, int bits, char *text, size_t size);

/* Its bytes (hamming_bytes(bits) of them) and length; false: text is no code. */
extern bool codefile_parse(const char *text, uint8_t *code, int *bits);

/* name as COPY's text format wants it: backslash, tab and line ends escaped. */
extern void codefile_put_name(FILE *to, const char *name);

/* Labels by name, shared by the files that are compared. */
typedef struct LabelNames
{
	char **name;
	int n, room;
} LabelNames;

/*
 * Read two files of codes to compare; all codes must be of one length.  The arrays in
 * the sets are malloc'ed.
 */
extern bool codefile_read_pair(const char *query_path, const char *database_path,
							   CodeSet *query, CodeSet *database, TrainError *err);
extern void codefile_free(CodeSet *set);

#endif
