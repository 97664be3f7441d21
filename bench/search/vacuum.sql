-- vacuum.sql: VACUUM of a tenth of the rows, with the mih index alone, then with a
-- btree alone (over nine tenths of the rows).  Wants codes with both indexes.
DROP INDEX codes_number;
DELETE FROM codes WHERE number % 10 = 1;
SELECT cpu_ms() AS cpu, clock_timestamp() AS start \gset
VACUUM (PARALLEL 0) codes;
SELECT note('vacuum_mih_cpu', cpu_ms() - :cpu), note('vacuum_mih_wall', extract(epoch FROM clock_timestamp() - :'start') * 1000) \g /dev/null
DROP INDEX codes_code;
CREATE INDEX codes_number ON codes (number);
DELETE FROM codes WHERE number % 9 = 1;
SELECT cpu_ms() AS cpu, clock_timestamp() AS start \gset
VACUUM (PARALLEL 0) codes;
SELECT note('vacuum_btree_cpu', cpu_ms() - :cpu), note('vacuum_btree_wall', extract(epoch FROM clock_timestamp() - :'start') * 1000) \g /dev/null
DROP INDEX codes_number;
DELETE FROM codes WHERE number % 8 = 1;
SELECT cpu_ms() AS cpu, clock_timestamp() AS start \gset
VACUUM (PARALLEL 0) codes;
SELECT note('vacuum_none_cpu', cpu_ms() - :cpu), note('vacuum_none_wall', extract(epoch FROM clock_timestamp() - :'start') * 1000) \g /dev/null
