-- --------------------------------------------------------------------- mih
CREATE FUNCTION @extschema@.mihhandler(pg_catalog.internal)
  RETURNS pg_catalog.index_am_handler LANGUAGE c
  AS 'MODULE_PATHNAME', 'mihhandler';
CREATE ACCESS METHOD mih TYPE INDEX HANDLER @extschema@.mihhandler;
COMMENT ON ACCESS METHOD mih IS 'exact nearest neighbours and radius search in Hamming space';

CREATE OPERATOR CLASS @extschema@.hashcode_mih_ops
  DEFAULT FOR TYPE @extschema@.hashcode USING mih AS
  OPERATOR 1 @extschema@.<@ (@extschema@.hashcode, @extschema@.hashball),
  OPERATOR 2 @extschema@.<~> (@extschema@.hashcode, @extschema@.hashcode)
    FOR ORDER BY pg_catalog.integer_ops;

-- For other types, function 1 makes the code.  bit columns take that of varbit.
CREATE OPERATOR CLASS @extschema@.bit_mih_ops
  DEFAULT FOR TYPE pg_catalog.varbit USING mih AS
  OPERATOR 1 @extschema@.<@ (pg_catalog.varbit, @extschema@.hashball),
  OPERATOR 2 @extschema@.<~> (pg_catalog.varbit, pg_catalog.varbit)
    FOR ORDER BY pg_catalog.integer_ops,
  FUNCTION 1 @extschema@.hashcode(pg_catalog.varbit);
CREATE OPERATOR CLASS @extschema@.bigint_mih_ops
  DEFAULT FOR TYPE pg_catalog.int8 USING mih AS
  OPERATOR 1 @extschema@.<@ (pg_catalog.int8, @extschema@.hashball),
  OPERATOR 2 @extschema@.<~> (pg_catalog.int8, pg_catalog.int8)
    FOR ORDER BY pg_catalog.integer_ops,
  FUNCTION 1 @extschema@.hashcode(pg_catalog.int8);

-- For EXCLUDE USING mih (hashball(code, radius) WITH <@>).
CREATE OPERATOR CLASS @extschema@.hashball_mih_ops
  DEFAULT FOR TYPE @extschema@.hashball USING mih AS
  OPERATOR 3 @extschema@.<@> (@extschema@.hashball, @extschema@.hashball),
  FUNCTION 1 @extschema@.centre(@extschema@.hashball);

CREATE FUNCTION @extschema@.mih_flush(index pg_catalog.regclass)
  RETURNS pg_catalog.int8 LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'mih_flush';
COMMENT ON FUNCTION @extschema@.mih_flush IS
  'sort the pending entries of a mih index into a segment; returns how many there were';

CREATE FUNCTION @extschema@.mih_merge(index pg_catalog.regclass)
  RETURNS pg_catalog.int4 LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'mih_merge';
COMMENT ON FUNCTION @extschema@.mih_merge IS
  'sort and merge all entries of a mih index into one segment; returns how many segments that took';

CREATE FUNCTION @extschema@.mih_check(
    index pg_catalog.regclass, heapallindexed pg_catalog.bool DEFAULT true)
  RETURNS pg_catalog.int8 LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'mih_check';
COMMENT ON FUNCTION @extschema@.mih_check IS
  'verify a mih index, and that it holds every row of its table; returns its entries, errors on damage';

CREATE FUNCTION @extschema@.mih_stats(
    index pg_catalog.regclass,
    OUT bits pg_catalog.int4, OUT segments pg_catalog.int4, OUT chunks pg_catalog.int4,
    OUT rows pg_catalog.int8, OUT pending pg_catalog.int8, OUT nulls pg_catalog.int8,
    OUT pages pg_catalog.int8, OUT dead_parts pg_catalog.int4,
    OUT bytes_per_row pg_catalog.float8)
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'mih_stats';
COMMENT ON FUNCTION @extschema@.mih_stats IS 'what a mih index holds';
