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
CREATE OPERATOR @extschema@.<@ (
  FUNCTION = @extschema@.hashcode_in_ball,
  LEFTARG = @extschema@.hashcode, RIGHTARG = @extschema@.hashball,
  COMMUTATOR = OPERATOR(@extschema@.@>)
);
CREATE OPERATOR @extschema@.@> (
  FUNCTION = @extschema@.hashball_contains,
  LEFTARG = @extschema@.hashball, RIGHTARG = @extschema@.hashcode,
  COMMUTATOR = OPERATOR(@extschema@.<@)
);

CREATE FUNCTION @extschema@.hamming_within_support(pg_catalog.internal)
  RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'hamming_within_support';
CREATE FUNCTION @extschema@.hamming_within(a @extschema@.hashcode, b @extschema@.hashcode, radius pg_catalog.int4)
  RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  SUPPORT @extschema@.hamming_within_support
  AS 'MODULE_PATHNAME', 'hamming_within';
