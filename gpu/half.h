/*
 * half.h
 *	  Half precision, IEEE binary16: 10 bits of fraction, nothing beyond 65504.
 */
#ifndef GPU_HALF_H
#define GPU_HALF_H

#include "gpu/machine.h"

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

/* Rounded to nearest even; the layout is CUDA's. */
struct Fp16
{
	uint16_t bits;

	Fp16() = default;
	ON_BOTH
	Fp16(float value)
	{
#ifdef __CUDA_ARCH__
		bits = __half_as_ushort(__float2half_rn(value));
#else
		uint32_t v, sign, drop;
		int exponent;

		memcpy(&v, &value, sizeof(v));
		sign = v >> 16 & 0x8000u;
		v &= 0x7fffffffu;
		exponent = (int) (v >> 23) - 127;
		if (v > 0x7f800000u)
			bits = (uint16_t) (sign | 0x7e00u); /* stays NaN */
		else if (v >= 0x477ff000u)				/* 65520 and more round to infinity */
			bits = (uint16_t) (sign | 0x7c00u);
		else if (exponent < -25)
			bits = (uint16_t) sign;
		else if (exponent < -14)
		{
			/* Subnormal: the fraction with its leading one, moved to units of 2^-24. */
			drop = (uint32_t) (-1 - exponent);
			v = (v & 0x7fffffu) | 0x800000u;
			bits = (uint16_t) (sign | round_off(v, drop));
		}
		else
			bits = (uint16_t) (sign | round_off(v - 0x38000000u, 13));
#endif
	}
	ON_BOTH operator float() const
	{
#ifdef __CUDA_ARCH__
		return __half2float(__ushort_as_half(bits));
#else
		uint32_t sign = (uint32_t) (bits & 0x8000u) << 16, v = bits & 0x7fffu;
		float value;

		if (v >= 0x7c00u)
			v = v << 13 | 0x7f800000u;
		else if (v >= 0x0400u)
			v = (v << 13) + 0x38000000u;
		else
		{
			value = (float) v / 16777216.0f;
			memcpy(&v, &value, sizeof(v));
		}
		v |= sign;
		memcpy(&value, &v, sizeof(value));
		return value;
#endif
	}

  private:
	/* v without its lowest bits, to nearest even; a carry into the exponent is right. */
	ON_BOTH static uint32_t
	round_off(uint32_t v, uint32_t drop)
	{
		uint32_t half = 1u << (drop - 1);

		return (v + half - 1 + (v >> drop & 1)) >> drop;
	}
};

#ifdef __CUDACC__
static inline cudaDataType_t
type_of(const Fp16 *)
{
	return CUDA_R_16F;
}
#endif

#endif
