-- ---------------------------------------------------------------- hashcode
CREATE TYPE @extschema@.hashcode;

CREATE FUNCTION @extschema@.hashcode_in(pg_catalog.cstring, pg_catalog.oid, pg_catalog.int4)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_in';
CREATE FUNCTION @extschema@.hashcode_out(@extschema@.hashcode)
  RETURNS pg_catalog.cstring LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_out';
CREATE FUNCTION @extschema@.hashcode_recv(pg_catalog.internal, pg_catalog.oid, pg_catalog.int4)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_recv';
CREATE FUNCTION @extschema@.hashcode_send(@extschema@.hashcode)
  RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_send';
CREATE FUNCTION @extschema@.hashcode_typmod_in(pg_catalog.cstring[])
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_typmod_in';
CREATE FUNCTION @extschema@.hashcode_typmod_out(pg_catalog.int4)
  RETURNS pg_catalog.cstring LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_typmod_out';

CREATE TYPE @extschema@.hashcode (
  INPUT = @extschema@.hashcode_in,
  OUTPUT = @extschema@.hashcode_out,
  RECEIVE = @extschema@.hashcode_recv,
  SEND = @extschema@.hashcode_send,
  TYPMOD_IN = @extschema@.hashcode_typmod_in,
  TYPMOD_OUT = @extschema@.hashcode_typmod_out,
  INTERNALLENGTH = VARIABLE,
  ALIGNMENT = int4,
  STORAGE = plain
);
COMMENT ON TYPE @extschema@.hashcode IS 'binary code of 1 to 4096 bits';

CREATE FUNCTION @extschema@.hashcode(@extschema@.hashcode, pg_catalog.int4, pg_catalog.bool)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_enforce_typmod';
CREATE CAST (@extschema@.hashcode AS @extschema@.hashcode)
  WITH FUNCTION @extschema@.hashcode(@extschema@.hashcode, pg_catalog.int4, pg_catalog.bool) AS IMPLICIT;

-- ---------------------------------------------------------------- hashball
CREATE TYPE @extschema@.hashball;

CREATE FUNCTION @extschema@.hashball_in(pg_catalog.cstring)
  RETURNS @extschema@.hashball LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_in';
CREATE FUNCTION @extschema@.hashball_out(@extschema@.hashball)
  RETURNS pg_catalog.cstring LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_out';
CREATE FUNCTION @extschema@.hashball_recv(pg_catalog.internal)
  RETURNS @extschema@.hashball LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_recv';
CREATE FUNCTION @extschema@.hashball_send(@extschema@.hashball)
  RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_send';

CREATE TYPE @extschema@.hashball (
  INPUT = @extschema@.hashball_in,
  OUTPUT = @extschema@.hashball_out,
  RECEIVE = @extschema@.hashball_recv,
  SEND = @extschema@.hashball_send,
  INTERNALLENGTH = VARIABLE,
  ALIGNMENT = int4,
  STORAGE = plain
);
COMMENT ON TYPE @extschema@.hashball IS 'a hashcode and a radius: all codes within that Hamming distance';

CREATE FUNCTION @extschema@.hashball(centre @extschema@.hashcode, radius pg_catalog.int4)
  RETURNS @extschema@.hashball LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_construct';
CREATE FUNCTION @extschema@.centre(@extschema@.hashball)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_centre';
CREATE FUNCTION @extschema@.radius(@extschema@.hashball)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_radius';

-- ---------------------------------------------------------------- distance
CREATE FUNCTION @extschema@.hamming_distance(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_hamming';
CREATE OPERATOR @extschema@.<~> (
  FUNCTION = @extschema@.hamming_distance,
  LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.<~>)
);

CREATE FUNCTION @extschema@.hashcode_in_ball(@extschema@.hashcode, @extschema@.hashball)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_in_ball';
CREATE FUNCTION @extschema@.hashball_contains(@extschema@.hashball, @extschema@.hashcode)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_contains';
CREATE FUNCTION @extschema@.hashcode_in_ball_sel(pg_catalog.internal, pg_catalog.oid, pg_catalog.internal, pg_catalog.int4)
  RETURNS pg_catalog.float8 LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_in_ball_sel';
CREATE FUNCTION @extschema@.hashcode_in_ball_joinsel(pg_catalog.internal, pg_catalog.oid, pg_catalog.internal, pg_catalog.int2, pg_catalog.internal)
  RETURNS pg_catalog.float8 LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_in_ball_joinsel';
CREATE FUNCTION @extschema@.hashball_contains_sel(pg_catalog.internal, pg_catalog.oid, pg_catalog.internal, pg_catalog.int4)
  RETURNS pg_catalog.float8 LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_contains_sel';
CREATE FUNCTION @extschema@.hashball_contains_joinsel(pg_catalog.internal, pg_catalog.oid, pg_catalog.internal, pg_catalog.int2, pg_catalog.internal)
  RETURNS pg_catalog.float8 LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_contains_joinsel';
CREATE OPERATOR @extschema@.<@ (
  FUNCTION = @extschema@.hashcode_in_ball,
  LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashball,
  COMMUTATOR = OPERATOR(@extschema@.@>),
  RESTRICT = @extschema@.hashcode_in_ball_sel, JOIN = @extschema@.hashcode_in_ball_joinsel
);
CREATE OPERATOR @extschema@.@> (
  FUNCTION = @extschema@.hashball_contains,
  LEFTARG = @extschema@.hashball, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.<@),
  RESTRICT = @extschema@.hashball_contains_sel, JOIN = @extschema@.hashball_contains_joinsel
);

CREATE FUNCTION @extschema@.hamming_within_support(pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hamming_within_support';
CREATE FUNCTION @extschema@.hamming_within(a @extschema@.hashcode, b @extschema@.hashcode, radius pg_catalog.int4)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  SUPPORT @extschema@.hamming_within_support
  AS 'MODULE_PATHNAME', 'hamming_within';

-- ---------------------------------------------------------------- bit strings and integers
-- The same operators for what people already store.  bit is binary coercible to
-- varbit, so one declaration serves both and clashes with none for bit alone.
-- That of integer keeps a literal from becoming a bigint unasked.
CREATE FUNCTION @extschema@.varbit_hamming(pg_catalog.varbit, pg_catalog.varbit)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'varbit_hamming';
CREATE OPERATOR @extschema@.<~> (
  FUNCTION = @extschema@.varbit_hamming, LEFTARG = pg_catalog.varbit, RIGHTARG = pg_catalog.varbit,
  COMMUTATOR = OPERATOR(@extschema@.<~>)
);
CREATE FUNCTION @extschema@.varbit_in_ball(pg_catalog.varbit, @extschema@.hashball)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'varbit_in_ball';
CREATE FUNCTION @extschema@.hashball_contains(@extschema@.hashball, pg_catalog.varbit)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_contains_varbit';
CREATE OPERATOR @extschema@.<@ (
  FUNCTION = @extschema@.varbit_in_ball, LEFTARG = pg_catalog.varbit, RIGHTARG = @extschema@.hashball,
  COMMUTATOR = OPERATOR(@extschema@.@>),
  RESTRICT = @extschema@.hashcode_in_ball_sel, JOIN = @extschema@.hashcode_in_ball_joinsel
);
CREATE OPERATOR @extschema@.@> (
  FUNCTION = @extschema@.hashball_contains, LEFTARG = @extschema@.hashball, RIGHTARG = pg_catalog.varbit,
  COMMUTATOR = OPERATOR(@extschema@.<@),
  RESTRICT = @extschema@.hashball_contains_sel, JOIN = @extschema@.hashball_contains_joinsel
);
CREATE FUNCTION @extschema@.hamming_within(a pg_catalog.varbit, b pg_catalog.varbit, radius pg_catalog.int4)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  SUPPORT @extschema@.hamming_within_support
  AS 'MODULE_PATHNAME', 'varbit_within';
CREATE FUNCTION @extschema@.bigint_hamming(pg_catalog.int8, pg_catalog.int8)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bigint_hamming';
CREATE OPERATOR @extschema@.<~> (
  FUNCTION = @extschema@.bigint_hamming, LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int8,
  COMMUTATOR = OPERATOR(@extschema@.<~>)
);
CREATE FUNCTION @extschema@.bigint_in_ball(pg_catalog.int8, @extschema@.hashball)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bigint_in_ball';
CREATE FUNCTION @extschema@.hashball_contains(@extschema@.hashball, pg_catalog.int8)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_contains_bigint';
CREATE OPERATOR @extschema@.<@ (
  FUNCTION = @extschema@.bigint_in_ball, LEFTARG = pg_catalog.int8, RIGHTARG = @extschema@.hashball,
  COMMUTATOR = OPERATOR(@extschema@.@>),
  RESTRICT = @extschema@.hashcode_in_ball_sel, JOIN = @extschema@.hashcode_in_ball_joinsel
);
CREATE OPERATOR @extschema@.@> (
  FUNCTION = @extschema@.hashball_contains, LEFTARG = @extschema@.hashball, RIGHTARG = pg_catalog.int8,
  COMMUTATOR = OPERATOR(@extschema@.<@),
  RESTRICT = @extschema@.hashball_contains_sel, JOIN = @extschema@.hashball_contains_joinsel
);
CREATE FUNCTION @extschema@.hamming_within(a pg_catalog.int8, b pg_catalog.int8, radius pg_catalog.int4)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  SUPPORT @extschema@.hamming_within_support
  AS 'MODULE_PATHNAME', 'bigint_within';
CREATE FUNCTION @extschema@.integer_hamming(pg_catalog.int4, pg_catalog.int4)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'integer_hamming';
CREATE OPERATOR @extschema@.<~> (
  FUNCTION = @extschema@.integer_hamming, LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4,
  COMMUTATOR = OPERATOR(@extschema@.<~>)
);
CREATE FUNCTION @extschema@.hamming_within(a pg_catalog.int4, b pg_catalog.int4, radius pg_catalog.int4)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  SUPPORT @extschema@.hamming_within_support
  AS 'MODULE_PATHNAME', 'integer_within';

-- ---------------------------------------------------------------- balls among themselves
-- What EXCLUDE USING mih takes: symmetric, and no two rows conflict unless each
-- lies within the other's radius.
CREATE FUNCTION @extschema@.hashball_mutual(@extschema@.hashball, @extschema@.hashball)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashball_mutual';
CREATE OPERATOR @extschema@.<@> (
  FUNCTION = @extschema@.hashball_mutual, LEFTARG = @extschema@.hashball, RIGHTARG = @extschema@.hashball,
  COMMUTATOR = OPERATOR(@extschema@.<@>),
  RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

-- ---------------------------------------------------------------- comparison
CREATE FUNCTION @extschema@.hashcode_eq(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_eq';
CREATE FUNCTION @extschema@.hashcode_ne(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_ne';
CREATE FUNCTION @extschema@.hashcode_lt(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_lt';
CREATE FUNCTION @extschema@.hashcode_le(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_le';
CREATE FUNCTION @extschema@.hashcode_gt(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_gt';
CREATE FUNCTION @extschema@.hashcode_ge(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_ge';
CREATE FUNCTION @extschema@.hashcode_cmp(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_cmp';
CREATE FUNCTION @extschema@.hashcode_sortsupport(pg_catalog.internal)
  RETURNS pg_catalog.void LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_sortsupport';
CREATE FUNCTION @extschema@.hashcode_hash(@extschema@.hashcode)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_hash';
CREATE FUNCTION @extschema@.hashcode_hash_extended(@extschema@.hashcode, pg_catalog.int8)
  RETURNS pg_catalog.int8 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_hash_extended';
CREATE OPERATOR @extschema@.= (
  FUNCTION = @extschema@.hashcode_eq, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>),
  RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel,
  HASHES, MERGES
);
CREATE OPERATOR @extschema@.<> (
  FUNCTION = @extschema@.hashcode_ne, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=),
  RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
CREATE OPERATOR @extschema@.< (
  FUNCTION = @extschema@.hashcode_lt, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=),
  RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
CREATE OPERATOR @extschema@.<= (
  FUNCTION = @extschema@.hashcode_le, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>),
  RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
CREATE OPERATOR @extschema@.> (
  FUNCTION = @extschema@.hashcode_gt, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=),
  RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
CREATE OPERATOR @extschema@.>= (
  FUNCTION = @extschema@.hashcode_ge, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<),
  RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);
CREATE OPERATOR CLASS @extschema@.hashcode_ops DEFAULT FOR TYPE @extschema@.hashcode USING btree AS
  OPERATOR 1 @extschema@.< (@extschema@.hashcode, @extschema@.hashcode),
  OPERATOR 2 @extschema@.<= (@extschema@.hashcode, @extschema@.hashcode),
  OPERATOR 3 @extschema@.= (@extschema@.hashcode, @extschema@.hashcode),
  OPERATOR 4 @extschema@.>= (@extschema@.hashcode, @extschema@.hashcode),
  OPERATOR 5 @extschema@.> (@extschema@.hashcode, @extschema@.hashcode),
  FUNCTION 1 @extschema@.hashcode_cmp(@extschema@.hashcode, @extschema@.hashcode),
  FUNCTION 2 @extschema@.hashcode_sortsupport(pg_catalog.internal),
  FUNCTION 4 pg_catalog.btequalimage(pg_catalog.oid);
CREATE OPERATOR CLASS @extschema@.hashcode_ops DEFAULT FOR TYPE @extschema@.hashcode USING hash AS
  OPERATOR 1 @extschema@.= (@extschema@.hashcode, @extschema@.hashcode),
  FUNCTION 1 @extschema@.hashcode_hash(@extschema@.hashcode),
  FUNCTION 2 @extschema@.hashcode_hash_extended(@extschema@.hashcode, pg_catalog.int8);

-- ---------------------------------------------------------------- bits
CREATE FUNCTION @extschema@.hashcode_and(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_and';
CREATE OPERATOR @extschema@.& (
  FUNCTION = @extschema@.hashcode_and, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.&)
);
CREATE FUNCTION @extschema@.hashcode_or(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_or';
CREATE OPERATOR @extschema@.| (
  FUNCTION = @extschema@.hashcode_or, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.|)
);
CREATE FUNCTION @extschema@.hashcode_xor(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_xor';
CREATE OPERATOR @extschema@.# (
  FUNCTION = @extschema@.hashcode_xor, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.#)
);
CREATE FUNCTION @extschema@.hashcode_concat(@extschema@.hashcode, @extschema@.hashcode)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_concat';
CREATE OPERATOR @extschema@.|| (
  FUNCTION = @extschema@.hashcode_concat, LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashcode
);
CREATE FUNCTION @extschema@.hashcode_not(@extschema@.hashcode)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_not';
CREATE OPERATOR @extschema@.~ (FUNCTION = @extschema@.hashcode_not, RIGHTARG = @extschema@.hashcode);
CREATE FUNCTION @extschema@.length(@extschema@.hashcode)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_length';
CREATE FUNCTION @extschema@.popcount(@extschema@.hashcode)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_popcount';
CREATE FUNCTION @extschema@.get_bit(code @extschema@.hashcode, n pg_catalog.int4)
  RETURNS pg_catalog.int4 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_get_bit';
CREATE FUNCTION @extschema@.set_bit(code @extschema@.hashcode, n pg_catalog.int4, new_value pg_catalog.int4)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_set_bit';
CREATE FUNCTION @extschema@.substring(code @extschema@.hashcode, start pg_catalog.int4, count pg_catalog.int4)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_substring';

-- ---------------------------------------------------------------- casts
-- Assignment where nothing is lost; from real[], which keeps only signs, explicit.
CREATE FUNCTION @extschema@.hashcode(pg_catalog."bit")
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bit_to_hashcode';
CREATE FUNCTION @extschema@.hashcode(pg_catalog.varbit)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bit_to_hashcode';
CREATE FUNCTION @extschema@.hashcode(pg_catalog.bytea)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bytea_to_hashcode';
CREATE FUNCTION @extschema@.hashcode(pg_catalog.int8)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bigint_to_hashcode';
CREATE FUNCTION @extschema@.hashcode(pg_catalog.float4[])
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'real_array_to_hashcode';
CREATE FUNCTION @extschema@.hashcode("values" pg_catalog.float4[], threshold pg_catalog.float4)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'real_array_to_hashcode_threshold';
CREATE FUNCTION @extschema@.hashcode("values" pg_catalog.float4[], thresholds pg_catalog.float4[])
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'real_array_to_hashcode_thresholds';
CREATE FUNCTION @extschema@.hashcode_to_bit(@extschema@.hashcode)
  RETURNS pg_catalog."bit" LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_to_varbit';
CREATE FUNCTION @extschema@.hashcode_to_varbit(@extschema@.hashcode)
  RETURNS pg_catalog.varbit LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_to_varbit';
CREATE FUNCTION @extschema@.hashcode_to_bytea(@extschema@.hashcode)
  RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_to_bytea';
CREATE FUNCTION @extschema@.hashcode_to_bigint(@extschema@.hashcode)
  RETURNS pg_catalog.int8 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_to_bigint';
CREATE CAST (pg_catalog."bit" AS @extschema@.hashcode) WITH FUNCTION @extschema@.hashcode(pg_catalog."bit") AS ASSIGNMENT;
CREATE CAST (@extschema@.hashcode AS pg_catalog."bit") WITH FUNCTION @extschema@.hashcode_to_bit(@extschema@.hashcode) AS ASSIGNMENT;
CREATE CAST (pg_catalog.varbit AS @extschema@.hashcode) WITH FUNCTION @extschema@.hashcode(pg_catalog.varbit) AS ASSIGNMENT;
CREATE CAST (@extschema@.hashcode AS pg_catalog.varbit) WITH FUNCTION @extschema@.hashcode_to_varbit(@extschema@.hashcode) AS ASSIGNMENT;
CREATE CAST (pg_catalog.bytea AS @extschema@.hashcode) WITH FUNCTION @extschema@.hashcode(pg_catalog.bytea) AS ASSIGNMENT;
CREATE CAST (@extschema@.hashcode AS pg_catalog.bytea) WITH FUNCTION @extschema@.hashcode_to_bytea(@extschema@.hashcode) AS ASSIGNMENT;
CREATE CAST (pg_catalog.int8 AS @extschema@.hashcode) WITH FUNCTION @extschema@.hashcode(pg_catalog.int8) AS ASSIGNMENT;
CREATE CAST (@extschema@.hashcode AS pg_catalog.int8) WITH FUNCTION @extschema@.hashcode_to_bigint(@extschema@.hashcode) AS ASSIGNMENT;
CREATE CAST (pg_catalog.float4[] AS @extschema@.hashcode) WITH FUNCTION @extschema@.hashcode(pg_catalog.float4[]);

-- ---------------------------------------------------------------- re-ranking
CREATE FUNCTION @extschema@.asymmetric_distance(code @extschema@.hashcode, vector pg_catalog.float4[])
  RETURNS pg_catalog.float8 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_asymmetric_distance';
CREATE FUNCTION @extschema@.asymmetric_distance(code @extschema@.hashcode, vector pg_catalog.float4[], thresholds pg_catalog.float4[])
  RETURNS pg_catalog.float8 LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_asymmetric_distance_thresholds';

-- ---------------------------------------------------------------- aggregates
CREATE AGGREGATE @extschema@.bit_and(@extschema@.hashcode) (
  SFUNC = @extschema@.hashcode_and, STYPE = @extschema@.hashcode, COMBINEFUNC = @extschema@.hashcode_and, PARALLEL = SAFE
);
CREATE AGGREGATE @extschema@.bit_or(@extschema@.hashcode) (
  SFUNC = @extschema@.hashcode_or, STYPE = @extschema@.hashcode, COMBINEFUNC = @extschema@.hashcode_or, PARALLEL = SAFE
);
CREATE AGGREGATE @extschema@.bit_xor(@extschema@.hashcode) (
  SFUNC = @extschema@.hashcode_xor, STYPE = @extschema@.hashcode, COMBINEFUNC = @extschema@.hashcode_xor, PARALLEL = SAFE
);
CREATE FUNCTION @extschema@.bitcounts_transition(pg_catalog.internal, @extschema@.hashcode)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bitcounts_transition';
CREATE FUNCTION @extschema@.bitcounts_combine(pg_catalog.internal, pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bitcounts_combine';
CREATE FUNCTION @extschema@.bitcounts_serialize(pg_catalog.internal)
  RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bitcounts_serialize';
CREATE FUNCTION @extschema@.bitcounts_deserialize(pg_catalog.bytea, pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'bitcounts_deserialize';
CREATE FUNCTION @extschema@.hashcode_majority(pg_catalog.internal)
  RETURNS @extschema@.hashcode LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_majority';
CREATE FUNCTION @extschema@.hashcode_bit_means(pg_catalog.internal)
  RETURNS pg_catalog.float8[] LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_bit_means';
CREATE AGGREGATE @extschema@.majority(@extschema@.hashcode) (
  SFUNC = @extschema@.bitcounts_transition, STYPE = pg_catalog.internal, FINALFUNC = @extschema@.hashcode_majority,
  COMBINEFUNC = @extschema@.bitcounts_combine, SERIALFUNC = @extschema@.bitcounts_serialize,
  DESERIALFUNC = @extschema@.bitcounts_deserialize, PARALLEL = SAFE
);
CREATE AGGREGATE @extschema@.bit_means(@extschema@.hashcode) (
  SFUNC = @extschema@.bitcounts_transition, STYPE = pg_catalog.internal, FINALFUNC = @extschema@.hashcode_bit_means,
  COMBINEFUNC = @extschema@.bitcounts_combine, SERIALFUNC = @extschema@.bitcounts_serialize,
  DESERIALFUNC = @extschema@.bitcounts_deserialize, PARALLEL = SAFE
);

CREATE TYPE @extschema@.hashcode_quality AS (
  codes pg_catalog.int8,
  bits pg_catalog.int4,
  bit_balance pg_catalog.float8,
  bit_entropy pg_catalog.float8,
  effective_bits pg_catalog.float8,
  constant_bits pg_catalog.int4,
  distinct_codes pg_catalog.int8,
  collision_shared pg_catalog.float8,
  collision_lost pg_catalog.float8,
  colliding_pairs pg_catalog.float8,
  exact pg_catalog.bool
);
CREATE FUNCTION @extschema@.hashcode_quality_transition(pg_catalog.internal, @extschema@.hashcode)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'quality_transition';
CREATE FUNCTION @extschema@.hashcode_quality_combine(pg_catalog.internal, pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'quality_combine';
CREATE FUNCTION @extschema@.hashcode_quality_serialize(pg_catalog.internal)
  RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'quality_serialize';
CREATE FUNCTION @extschema@.hashcode_quality_deserialize(pg_catalog.bytea, pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'quality_deserialize';
CREATE FUNCTION @extschema@.hashcode_quality_final(pg_catalog.internal)
  RETURNS @extschema@.hashcode_quality LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_quality';
CREATE AGGREGATE @extschema@.quality(@extschema@.hashcode) (
  SFUNC = @extschema@.hashcode_quality_transition, STYPE = pg_catalog.internal, FINALFUNC = @extschema@.hashcode_quality_final,
  COMBINEFUNC = @extschema@.hashcode_quality_combine, SERIALFUNC = @extschema@.hashcode_quality_serialize,
  DESERIALFUNC = @extschema@.hashcode_quality_deserialize, PARALLEL = SAFE
);

CREATE FUNCTION @extschema@.hashcode_correlation_transition(pg_catalog.internal, @extschema@.hashcode)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'correlation_transition';
CREATE FUNCTION @extschema@.hashcode_correlation_combine(pg_catalog.internal, pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'correlation_combine';
CREATE FUNCTION @extschema@.hashcode_correlation_serialize(pg_catalog.internal)
  RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'correlation_serialize';
CREATE FUNCTION @extschema@.hashcode_correlation_deserialize(pg_catalog.bytea, pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'correlation_deserialize';
CREATE FUNCTION @extschema@.hashcode_bit_correlation(pg_catalog.internal)
  RETURNS pg_catalog.float8 LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hashcode_bit_correlation';
CREATE AGGREGATE @extschema@.bit_correlation(@extschema@.hashcode) (
  SFUNC = @extschema@.hashcode_correlation_transition, STYPE = pg_catalog.internal, FINALFUNC = @extschema@.hashcode_bit_correlation,
  COMBINEFUNC = @extschema@.hashcode_correlation_combine, SERIALFUNC = @extschema@.hashcode_correlation_serialize,
  DESERIALFUNC = @extschema@.hashcode_correlation_deserialize, PARALLEL = SAFE
);

-- ---------------------------------------------------------------- what \df+ and \do+ say
COMMENT ON FUNCTION @extschema@.hashball(@extschema@.hashcode, pg_catalog.int4) IS 'all codes within radius of centre';
COMMENT ON FUNCTION @extschema@.centre(@extschema@.hashball) IS 'centre of a ball';
COMMENT ON FUNCTION @extschema@.radius(@extschema@.hashball) IS 'radius of a ball';
COMMENT ON FUNCTION @extschema@.hamming_distance(@extschema@.hashcode, @extschema@.hashcode) IS 'number of differing bits';
COMMENT ON FUNCTION @extschema@.hamming_within(@extschema@.hashcode, @extschema@.hashcode, pg_catalog.int4) IS 'whether a and b differ in at most radius bits; served by mih indexes';
COMMENT ON FUNCTION @extschema@.length(@extschema@.hashcode) IS 'number of bits';
COMMENT ON FUNCTION @extschema@.popcount(@extschema@.hashcode) IS 'number of bits that are 1';
COMMENT ON FUNCTION @extschema@.get_bit(@extschema@.hashcode, pg_catalog.int4) IS 'bit n, counted from 0';
COMMENT ON FUNCTION @extschema@.set_bit(@extschema@.hashcode, pg_catalog.int4, pg_catalog.int4) IS 'the code with bit n, counted from 0, set to new_value';
COMMENT ON FUNCTION @extschema@.substring(@extschema@.hashcode, pg_catalog.int4, pg_catalog.int4) IS 'count bits from bit start on, counted from 1';
COMMENT ON FUNCTION @extschema@.hashcode(pg_catalog.float4[]) IS 'signs of a vector: 1 where an element is greater than 0';
COMMENT ON FUNCTION @extschema@.hashcode(pg_catalog.float4[], pg_catalog.float4) IS '1 where an element is greater than the threshold';
COMMENT ON FUNCTION @extschema@.hashcode(pg_catalog.float4[], pg_catalog.float4[]) IS '1 where an element is greater than its threshold';
COMMENT ON FUNCTION @extschema@.asymmetric_distance(@extschema@.hashcode, pg_catalog.float4[]) IS 'sum of |v_k| over the bits that disagree with the sign of v_k';
COMMENT ON FUNCTION @extschema@.asymmetric_distance(@extschema@.hashcode, pg_catalog.float4[], pg_catalog.float4[]) IS 'asymmetric distance to vector - thresholds';
COMMENT ON OPERATOR @extschema@.<~> (@extschema@.hashcode, @extschema@.hashcode) IS 'Hamming distance';
COMMENT ON OPERATOR @extschema@.<@ (@extschema@.hashcode, @extschema@.hashball) IS 'code lies in ball';
COMMENT ON OPERATOR @extschema@.@> (@extschema@.hashball, @extschema@.hashcode) IS 'ball holds code';
COMMENT ON FUNCTION @extschema@.hamming_within(pg_catalog.varbit, pg_catalog.varbit, pg_catalog.int4) IS 'whether a and b differ in at most radius bits; served by mih indexes';
COMMENT ON OPERATOR @extschema@.<~> (pg_catalog.varbit, pg_catalog.varbit) IS 'Hamming distance';
COMMENT ON OPERATOR @extschema@.<@ (pg_catalog.varbit, @extschema@.hashball) IS 'bit string lies in ball';
COMMENT ON OPERATOR @extschema@.@> (@extschema@.hashball, pg_catalog.varbit) IS 'ball holds bit string';
COMMENT ON FUNCTION @extschema@.hamming_within(pg_catalog.int8, pg_catalog.int8, pg_catalog.int4) IS 'whether a and b differ in at most radius bits; served by mih indexes';
COMMENT ON OPERATOR @extschema@.<~> (pg_catalog.int8, pg_catalog.int8) IS 'Hamming distance';
COMMENT ON OPERATOR @extschema@.<@ (pg_catalog.int8, @extschema@.hashball) IS 'bigint, as a code of 64 bits, lies in ball';
COMMENT ON OPERATOR @extschema@.@> (@extschema@.hashball, pg_catalog.int8) IS 'ball holds bigint, as a code of 64 bits';
COMMENT ON FUNCTION @extschema@.hamming_within(pg_catalog.int4, pg_catalog.int4, pg_catalog.int4) IS 'whether a and b differ in at most radius bits';
COMMENT ON OPERATOR @extschema@.<~> (pg_catalog.int4, pg_catalog.int4) IS 'Hamming distance';
COMMENT ON OPERATOR @extschema@.<@> (@extschema@.hashball, @extschema@.hashball) IS 'each ball holds the centre of the other';
COMMENT ON OPERATOR @extschema@.& (@extschema@.hashcode, @extschema@.hashcode) IS 'bitwise and';
COMMENT ON OPERATOR @extschema@.| (@extschema@.hashcode, @extschema@.hashcode) IS 'bitwise or';
COMMENT ON OPERATOR @extschema@.# (@extschema@.hashcode, @extschema@.hashcode) IS 'bitwise exclusive or';
COMMENT ON OPERATOR @extschema@.|| (@extschema@.hashcode, @extschema@.hashcode) IS 'concatenate';
COMMENT ON OPERATOR @extschema@.~ (NONE, @extschema@.hashcode) IS 'bitwise not';
COMMENT ON AGGREGATE @extschema@.majority(@extschema@.hashcode) IS 'each bit by majority, ties 0: the Hamming centroid';
COMMENT ON AGGREGATE @extschema@.bit_and(@extschema@.hashcode) IS 'bitwise and of all codes';
COMMENT ON AGGREGATE @extschema@.bit_or(@extschema@.hashcode) IS 'bitwise or of all codes';
COMMENT ON AGGREGATE @extschema@.bit_xor(@extschema@.hashcode) IS 'bitwise exclusive or of all codes';
COMMENT ON AGGREGATE @extschema@.bit_means(@extschema@.hashcode) IS 'share of ones, for each bit';
COMMENT ON AGGREGATE @extschema@.quality(@extschema@.hashcode) IS 'balance, entropy and collisions of a set of codes';
COMMENT ON AGGREGATE @extschema@.bit_correlation(@extschema@.hashcode) IS 'mean absolute correlation of pairs of bits';
