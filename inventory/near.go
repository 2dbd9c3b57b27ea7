package inventory

// tie is a value by which merge may join two records, or keep them apart. Kinds are in ties.
type tie struct {
	kind  byte
	value string
}

// ties calls do with the ties of a record until it says false. There may be more of them than merge looks at, and never fewer: a key
// of merge has its tie here, and keys that it compares with each other are of one kind.
func (r *rec) ties(do func(tie) bool) {
	for k, v := range r.facts.claim {
		kind := claim(k)
		switch kind {
		case claimEntra:
			kind = claimGUID
		case claimVM:
			kind = claimSMBIOS
		}
		if v != "" && !do(tie{byte(kind), v}) {
			return
		}
	}
	for i, v := range [...]string{serialKey(r.facts.m.Serial), r.facts.m.FQDN, r.facts.m.Name, r.machine} {
		if v != "" && !do(tie{byte(claims) + byte(i), v}) {
			return
		}
	}
}

// reachFrom notes by what others are tied to a record.
func (w *importer) reachFrom(r *rec) {
	if w.partial {
		for t := range r.ties {
			w.reach[t] = true
		}
	}
}

// near gives the records that hang together with the changed ones, through however many others: merge would say of the rest what it
// said before. The machines of the rest are taken out of the contents, and counted; their conflicts are reported.
func (w *importer) near(source string) (out []*rec, others int) {
	rest := w.c.recs
	for grown := true; grown; {
		left := rest
		rest, grown = nil, false
		for _, r := range left {
			if w.dirty[r] == 0 && !w.reaches(r) {
				rest = append(rest, r)
				continue
			}
			w.reachFrom(r)
			out, grown = append(out, r), true
		}
	}
	for _, r := range rest {
		if r.Source == source {
			w.report.Conflicts = append(w.report.Conflicts, w.c.machines[r.machine]...)
		}
	}
	machines := map[string][]string{}
	for _, r := range out {
		if r.machine != "" {
			machines[r.machine] = w.c.machines[r.machine]
		}
	}
	others = len(w.c.machines) - len(machines)
	w.c.machines = machines
	return out, others
}

func (w *importer) reaches(r *rec) bool {
	for t := range r.ties {
		if w.reach[t] {
			return true
		}
	}
	return false
}
