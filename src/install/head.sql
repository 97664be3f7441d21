\echo Use "CREATE EXTENSION deephash" to load this file. \quit

