/*
 * mihhandler.c
 *	  What the access method mih tells PostgreSQL about itself.
 */
#include "mih/mih.h"

#include "commands/vacuum.h"

PG_FUNCTION_INFO_V1(mihhandler);

Datum
mihhandler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = 3;
	am->amsupport = 1;
	am->amoptsprocnum = 0;
	am->amcanorder = false;
	am->amcanorderbyop = true;
	am->amcanbackward = false;
	am->amcanunique = false;
	am->amcanmulticol = false;
	am->amoptionalkey = true;
	am->amsearcharray = false;
	am->amsearchnulls = true;
	am->amstorage = false;
	am->amclusterable = false;
	am->ampredlocks = true;
	am->amcanparallel = false;
	compat_can_build_parallel(am);
	am->amcaninclude = false;
	am->amusemaintenanceworkmem = true;
	am->amparallelvacuumoptions =
		VACUUM_OPTION_PARALLEL_BULKDEL | VACUUM_OPTION_PARALLEL_CLEANUP;
	am->amkeytype = InvalidOid;

	am->ambuild = mihbuild;
	am->ambuildempty = mihbuildempty;
	am->aminsert = mihinsert;
	am->ambulkdelete = mihbulkdelete;
	am->amvacuumcleanup = mihvacuumcleanup;
	am->amcanreturn = NULL;
	am->amcostestimate = mihcostestimate;
	am->amoptions = mihoptions;
	am->amproperty = mihproperty;
	am->ambuildphasename = mihbuildphasename;
	am->amvalidate = mihvalidate;
	am->ambeginscan = mihbeginscan;
	am->amrescan = mihrescan;
	am->amgettuple = mihgettuple;
	am->amgetbitmap = mihgetbitmap;
	am->amendscan = mihendscan;
	am->ammarkpos = NULL;
	am->amrestrpos = NULL;
	PG_RETURN_POINTER(am);
}
