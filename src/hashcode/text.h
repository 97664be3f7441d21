/*
 * text.h
 *	  Reading and writing the text form of a code, shared by hashcode and
 *	  hashball.  README.md holds the grammar.
 */
#ifndef HASHCODE_TEXT_H
#define HASHCODE_TEXT_H

#include "hashcode/hashcode.h"

#include "lib/stringinfo.h"
#include "nodes/nodes.h"

/*
 * The code written in text[start .. end), where text is the whole input (error
 * messages count positions from its beginning).  typmod is the expected number
 * of bits or -1.  Errors go to escontext (may be NULL: raised), then NULL is
 * returned.
 */
extern HashCode *hashcode_parse(const char *text, int start, int end, int32 typmod,
								Node *escontext);

/* Append the text form of nbits bits. */
extern void hashcode_format(StringInfo out, int nbits, const uint8 *bits);

/* Read the wire form from a message; raises an error for anything malformed. */
extern HashCode *hashcode_receive(StringInfo message);
extern void hashcode_transmit(StringInfo message, int nbits, const uint8 *bits);

/*
 * Whether the code has typmod bits (-1: any number).  If not, the error that says so
 * goes to escontext (NULL: it is raised).
 */
extern bool hashcode_check_length(const HashCode *code, int32 typmod, Node *escontext);

#endif
