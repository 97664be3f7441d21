# table.awk: the lines that encode.sh gathered as a table: medians over the rounds, and
# medians of the ratios to the mean of the bare engine's runs just before and after.
# In: WHAT RATE ENGINE-CPU SESSION-CPU P50 P95 P99, and - for what there is not.

function median(list,    v, n, i, j, t) {
	n = split(list, v, " ")
	for (i = 2; i <= n; i++) {
		t = v[i]
		for (j = i - 1; j > 0 && v[j] + 0 > t + 0; j--) v[j + 1] = v[j]
		v[j + 1] = t
	}
	return n ? (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2 : ""
}

function cell(format, list) {
	list = median(list)
	return list == "" ? sprintf("%8s", "") : sprintf(format, list)
}

function row(what, name) {
	if (!(what in rate)) return
	printf "  %-38s %s %s %s %s %s %s %s %s\n", name, cell("%8.1f", rate[what]), cell("%8.2f", of_rate[what]),
		cell("%8.3f", engine[what]), cell("%8.3f", session[what]), cell("%8.2f", of_cpu[what]),
		cell("%8.2f", p50[what]), cell("%8.2f", p95[what]), cell("%8.2f", p99[what])
}

{ for (i = 1; i <= 7; i++) f[NR, i] = $i }

END {
	for (n = 1; n <= NR; n++) {
		what = f[n, 1]
		rate[what] = rate[what] " " f[n, 2]
		for (i = 3; i <= 7; i++) if (f[n, i] != "-") {
			if (i == 3) engine[what] = engine[what] " " f[n, i]
			if (i == 4) session[what] = session[what] " " f[n, i]
			if (i == 5) p50[what] = p50[what] " " f[n, i]
			if (i == 6) p95[what] = p95[what] " " f[n, i]
			if (i == 7) p99[what] = p99[what] " " f[n, i]
		}
		if (what == "bare" || what == "bare_alone" || what == "beside") continue
		for (a = n; a > 1 && f[a, 1] != "bare"; a--);
		for (b = n; b < NR && f[b, 1] != "bare"; b++);
		if (f[b, 1] != "bare") b = a
		of_rate[what] = of_rate[what] " " 2 * f[n, 2] / (f[a, 2] + f[b, 2])
		of_cpu[what] = of_cpu[what] " " 2 * (f[n, 3] + f[n, 4]) / (f[a, 3] + f[b, 3])
	}
	decoding = median(session["bare"]) / median(engine["bare"])
	delete session["bare"]
	# The processors were the bulk load's.
	delete engine["beside"]
	delete session["beside"]
	printf "  %-38s %8s %8s %8s %8s %8s %8s %8s %8s\n", "", "images/s", "of bare", "engine", "session", "of bare", "p50 ms", "p95", "p99"
	row("bare", "bare engine, batches of " batch)
	row("bare_alone", "bare engine, one by one")
	for (i = split(sessions, s, " "); i > 0; i--) order[i] = s[i]
	for (i = 1; i in order; i++) row(order[i], "deephash_encode, sessions: " order[i])
	row("beside", "one session, beside a bulk load")
	row("array", "deephash_encode_array")
	row("set", "deephash_encode_set")
	row("insert", "INSERT of single rows, row trigger")
	row("copy_row", "COPY, row trigger")
	row("statement", "INSERT ... SELECT, statement trigger")
	row("copy_statement", "COPY, statement trigger")
	row("table", "CALL deephash_encode_table")
	printf "  JPEG decoding and resizing: %.1f %% of the bare engine's CPU\n", 100 * decoding
}
