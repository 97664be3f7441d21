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
  LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'mih_stats';
COMMENT ON FUNCTION @extschema@.mih_stats IS 'what a mih index holds';

CREATE FUNCTION @extschema@.mih_parts(
    index pg_catalog.regclass,
    OUT part pg_catalog.int8, OUT kind pg_catalog.text, OUT ordered_by pg_catalog.text,
    OUT chunk pg_catalog.int4, OUT key_bits pg_catalog.int4, OUT pages pg_catalog.int8,
    OUT entries pg_catalog.int8, OUT bytes_per_entry pg_catalog.float8,
    OUT balance pg_catalog.float8)
  RETURNS SETOF pg_catalog.record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'mih_parts';
COMMENT ON FUNCTION @extschema@.mih_parts IS
  'what every page of a mih index is for; balance: share of the pages of a table that begin with a key of their own';

CREATE FUNCTION @extschema@.mih_histogram(
    index pg_catalog.regclass,
    OUT distance_from pg_catalog.int4, OUT distance_to pg_catalog.int4, OUT share pg_catalog.float8)
  RETURNS SETOF pg_catalog.record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'mih_histogram';
COMMENT ON FUNCTION @extschema@.mih_histogram IS
  'distances of pairs of sampled codes of a mih index: share of the pairs so many bits apart';

CREATE FUNCTION @extschema@.mih_last_scan(
    OUT index pg_catalog.regclass, OUT scans pg_catalog.int8, OUT steps pg_catalog.int8,
    OUT radius pg_catalog.int4, OUT list_pages pg_catalog.int8, OUT walk_pages pg_catalog.int8,
    OUT passes pg_catalog.int8, OUT pass_pages pg_catalog.int8, OUT candidates pg_catalog.int8,
    OUT results pg_catalog.int8, OUT dead pg_catalog.int8)
  LANGUAGE c VOLATILE PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'mih_last_scan';
COMMENT ON FUNCTION @extschema@.mih_last_scan IS 'what the last scan of a mih index in this session did';

CREATE FUNCTION @extschema@.mih_scans(
    OUT index pg_catalog.regclass, OUT scans pg_catalog.int8, OUT steps pg_catalog.int8,
    OUT radius pg_catalog.int4, OUT list_pages pg_catalog.int8, OUT walk_pages pg_catalog.int8,
    OUT passes pg_catalog.int8, OUT pass_pages pg_catalog.int8, OUT candidates pg_catalog.int8,
    OUT results pg_catalog.int8, OUT dead pg_catalog.int8)
  RETURNS SETOF pg_catalog.record LANGUAGE c VOLATILE PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'mih_scans';
COMMENT ON FUNCTION @extschema@.mih_scans IS
  'sums over the scans of mih indexes in this session, by index; radius is the greatest';

CREATE FUNCTION @extschema@.mih_scans_reset() RETURNS pg_catalog.void
  LANGUAGE c VOLATILE PARALLEL RESTRICTED
  AS 'MODULE_PATHNAME', 'mih_scans_reset';
COMMENT ON FUNCTION @extschema@.mih_scans_reset IS 'forget what the scans of this session did';
