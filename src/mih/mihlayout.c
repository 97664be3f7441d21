/*
 * mihlayout.c
 *	  How a segment cuts codes into chunks, and what follows from the cut.
 *
 * A segment stores codes with their bits permuted so that every chunk is a run
 * of neighbouring bits.  Distances do not change under a permutation that is
 * applied to query and codes alike.
 */
#include "mih/mih.h"

#include "port/pg_bitutils.h"

#define SHUFFLE_MAX_BYTES 32 /* codes up to this are permuted by table */
#define MIN_SAMPLE 256		 /* fewer codes say nothing about correlation */
#define DEAL_SAMPLE 1024	 /* so many say enough */

static inline int
get_bit(const uint8 *code, int i)
{
	return (code[i >> 3] >> (7 - (i & 7))) & 1;
}

static inline void
set_bit(uint8 *code, int i)
{
	code[i >> 3] |= 0x80 >> (i & 7);
}

/*
 * Agreement of the bits of a sample.  columns holds one bit string of the
 * sample's length per bit; the result is |P(equal) - 1/2| scaled to 0 .. nsample.
 */
static int
dependence(const uint64 *a, const uint64 *b, int nwords, int nsample)
{
	int differ = 0;

	for (int w = 0; w < nwords; w++)
		differ += pg_popcount64(a[w] ^ b[w]);
	return abs(2 * differ - nsample);
}

/*
 * Deal the bits to the chunks so that bits that depend on one another fall into
 * different chunks: the most balanced bits first, each to the chunk with room
 * whose bits it depends on least.  Balanced bits thus lead every chunk, where
 * they decide the page.
 */
static void
deal_bits(MihLayout *layout, const uint8 *sample, int nsample)
{
	int nbits = layout->nbits;
	int nbytes = hamming_bytes(nbits);
	int nwords = (nsample + 63) / 64;
	uint64 *columns = palloc0(sizeof(uint64) * nbits * nwords);
	uint64 *zero = palloc0(sizeof(uint64) * nwords);
	int *imbalance = palloc(sizeof(int) * nbits);
	bool *dealt = palloc0(nbits);
	int *fill = palloc0(sizeof(int) * layout->nchunks);

	for (int s = 0; s < nsample; s++)
		for (int i = 0; i < nbits; i++)
			if (get_bit(sample + (size_t) s * nbytes, i))
				columns[(size_t) i * nwords + s / 64] |= UINT64CONST(1) << (s % 64);
	for (int i = 0; i < nbits; i++)
		imbalance[i] = dependence(&columns[(size_t) i * nwords], zero, nwords, nsample);

	for (int n = 0; n < nbits; n++)
	{
		int bit = -1;
		int best = -1;
		int64 best_cost = 0;

		for (int i = 0; i < nbits; i++)
			if (!dealt[i] && (bit < 0 || imbalance[i] < imbalance[bit]))
				bit = i;
		for (int j = 0; j < layout->nchunks; j++)
		{
			int size = layout->start[j + 1] - layout->start[j];
			int64 cost = 0;

			/* Chunks fill evenly: only those with the fewest bits are asked. */
			if (fill[j] == size || fill[j] > n / layout->nchunks)
				continue;
			for (int i = 0; i < fill[j]; i++)
			{
				int64 d = dependence(
					&columns[(size_t) bit * nwords],
					&columns[(size_t) layout->perm[layout->start[j] + i] * nwords],
					nwords, nsample);

				cost += d * d;
			}
			if (best < 0 || cost < best_cost)
			{
				best = j;
				best_cost = cost;
			}
		}
		layout->perm[layout->start[best] + fill[best]++] = bit;
		dealt[bit] = true;
	}
	layout->nperm = nbits;
	pfree(columns);
	pfree(zero);
	pfree(imbalance);
	pfree(dealt);
	pfree(fill);
}

/*
 * Cut codes of nbits into nchunks chunks of (nearly) the same length, and deal the
 * bits to them as the sample of nsample packed codes suggests.
 */
void
mih_cut_layout(MihLayout *layout, int nbits, int nchunks, const uint8 *sample,
			   int nsample)
{
	memset(layout, 0, sizeof(MihLayout));
	layout->nbits = nbits;
	layout->nchunks = nchunks;
	for (int j = 0; j <= nchunks; j++)
		layout->start[j] = j * nbits / nchunks;
	if (nchunks > 1 && nsample >= MIN_SAMPLE && nbits <= MIH_MAX_PERM_BITS / 4)
		deal_bits(layout, sample, Min(nsample, DEAL_SAMPLE));
}

/* From the column's order of bits to the segment's. */
void
mih_to_stored(const MihLayout *layout, const uint8 *code, uint8 *stored)
{
	int nbytes = hamming_bytes(layout->nbits);

	if (layout->nperm == 0)
	{
		memcpy(stored, code, nbytes);
		return;
	}
	memset(stored, 0, nbytes);
	for (int i = 0; i < layout->nperm; i++)
		if (get_bit(code, layout->perm[i]))
			set_bit(stored, i);
}

/* And back. */
void
mih_from_stored(const MihLayout *layout, const uint8 *stored, uint8 *code)
{
	int nbytes = hamming_bytes(layout->nbits);

	if (layout->nperm == 0)
	{
		memcpy(code, stored, nbytes);
		return;
	}
	memset(code, 0, nbytes);
	for (int i = 0; i < layout->nperm; i++)
		if (get_bit(stored, i))
			set_bit(code, layout->perm[i]);
}

/* A permutation of the bits of codes, by table: bytes in, bytes or-ed together. */
struct MihShuffle
{
	const MihLayout *layout;
	bool inverse;
	int nbytes;
	uint8 *table; /* [byte of the code][its value][nbytes], NULL: bit by bit */
};

/*
 * Prepare mih_to_stored, or mih_from_stored where inverse is set, for many
 * codes.  The layout must outlive the result.
 */
MihShuffle *
mih_shuffle_make(const MihLayout *layout, bool inverse)
{
	MihShuffle *shuffle = palloc0(sizeof(MihShuffle));
	int nbytes = hamming_bytes(layout->nbits);

	shuffle->layout = layout;
	shuffle->inverse = inverse;
	shuffle->nbytes = nbytes;
	if (layout->nperm == 0 || nbytes > SHUFFLE_MAX_BYTES)
		return shuffle;
	shuffle->table = palloc0((Size) nbytes * 256 * nbytes);
	for (int i = 0; i < layout->nbits; i++)
	{
		int from = inverse ? i : layout->perm[i];
		int to = inverse ? layout->perm[i] : i;
		uint8 *values = shuffle->table + (Size) (from / 8) * 256 * nbytes;

		for (int v = 0; v < 256; v++)
			if (v & (0x80 >> (from & 7)))
				set_bit(values + v * nbytes, to);
	}
	return shuffle;
}

void
mih_shuffle_free(MihShuffle *shuffle)
{
	if (shuffle->table)
		pfree(shuffle->table);
	pfree(shuffle);
}

void
mih_shuffle(const MihShuffle *shuffle, const uint8 *in, uint8 *out)
{
	int nbytes = shuffle->nbytes;

	if (shuffle->table == NULL)
	{
		if (shuffle->inverse)
			mih_from_stored(shuffle->layout, in, out);
		else
			mih_to_stored(shuffle->layout, in, out);
		return;
	}
	if (nbytes == sizeof(uint64))
	{
		uint64 all = 0;

		for (int i = 0; i < (int) sizeof(uint64); i++)
		{
			uint64 part;

			memcpy(&part, shuffle->table + ((Size) i * 256 + in[i]) * sizeof(uint64),
				   sizeof(uint64));
			all |= part;
		}
		memcpy(out, &all, sizeof(uint64));
		return;
	}
	memset(out, 0, nbytes);
	for (int i = 0; i < nbytes; i++)
	{
		const uint8 *part = shuffle->table + ((Size) i * 256 + in[i]) * nbytes;

		for (int k = 0; k < nbytes; k++)
			out[k] |= part[k];
	}
}

/* Bits of a chunk's key: its leading bits, MIH_KEY_BITS at most. */
int
mih_key_bits(const MihLayout *layout, int chunk)
{
	return Min(MIH_KEY_BITS, layout->start[chunk + 1] - layout->start[chunk]);
}

/* The key of a stored code in a chunk's table, in the low bits. */
uint32
mih_key(const MihLayout *layout, int chunk, const uint8 *stored)
{
	int from = layout->start[chunk];
	int width = mih_key_bits(layout, chunk);
	int last = (from + width - 1) / 8;
	uint64 window = 0;

	/* At most 32 bits at any bit offset span at most 5 bytes. */
	for (int i = from / 8; i <= last; i++)
		window = window << 8 | stored[i];
	window >>= (last + 1) * 8 - (from + width);
	return (uint32) (window & ((UINT64CONST(1) << width) - 1));
}

/* What the entries of a table are ordered by: see mih_key and mih_reference_key. */
uint32
mih_entry_key(const MihLayout *layout, const MihReferences *refs, int table,
			  const uint8 *stored)
{
	return refs ? mih_reference_key(refs, stored) : mih_key(layout, table, stored);
}

/* Distance of two codes in bits from .. to - 1. */
int
mih_bit_distance(const uint8 *a, const uint8 *b, int from, int to)
{
	int first = from / 8;
	int last = (to - 1) / 8;
	int d = 0;

	for (int i = first; i <= last; i++)
	{
		uint8 x = a[i] ^ b[i];

		if (i == first)
			x &= 0xff >> (from & 7);
		if (i == last)
			x &= 0xff << (7 - ((to - 1) & 7));
		d += pg_number_of_ones[x];
	}
	return d;
}

/* Fill the metapage's histogram from the pairs of a sample of packed codes. */
void
mih_sample_histogram(const uint8 *sample, int nsample, int nbits, MihMeta *meta)
{
	const HammingKernels *kernels = hamming_kernels();
	int nbytes = hamming_bytes(nbits);
	int width = (nbits + MIH_HIST_BINS) / MIH_HIST_BINS;
	uint16 *d = palloc(sizeof(uint16) * Max(nsample, 1));

	memset(meta->hist, 0, sizeof(meta->hist));
	meta->hist_pairs = 0;
	for (int i = 0; i + 1 < nsample; i++)
	{
		int n = nsample - i - 1;

		kernels->distances(sample + (size_t) i * nbytes,
						   sample + (size_t) (i + 1) * nbytes, nbytes, n, d);
		for (int k = 0; k < n; k++)
			meta->hist[d[k] / width]++;
		meta->hist_pairs += n;
	}
	pfree(d);
}
