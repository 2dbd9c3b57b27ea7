// Command mutants breaks the project on purpose, one small thing at a time, and sees whether a test notices:
//
//	go run ./test/mutants                               # 12 of the committed table, each with the test it names, alone
//	go run ./test/mutants -pkg remediate/windows -n 20  # 20 drawn from the whole package, with all its tests
//
// A mutant is a condition negated, a comparison turned, a statement left out or a literal changed, found in the syntax
// tree (Go's own; PowerShell's own parser for remediate/agent/agent.ps1, which is called "agent") and drawn by seed. Go
// code is built with -overlay and the agent is given to its runner by name, so nothing in the tree is ever touched. What
// does not compile is drawn again.
//
// The table (test/mutants/table.tsv) names for each mutant the test that notices it; -write adds what this draw found. A
// row whose "test" is "-" is a survivor that somebody has judged, with the reason.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// mutant is one way to break a file.
type mutant struct {
	Package  string // remediate/windows; "agent" for agent.ps1
	File     string // path from the top of the tree
	Function string
	Kind     string
	Text     string // what is replaced
	With     string
	line     string // the line of the source on which it begins, without the blanks around it
	start    int    // bytes of the file
	end      int
	id       string
}

// verdict is how a mutant fared.
type verdict struct {
	noticed bool
	invalid bool   // it does not compile
	alone   bool   // no test comes by it
	test    string // the first that failed; "(time)" when the tests did not end
}

// subject is something that can be broken and tested.
type subject interface {
	// points are all mutants, in the order of the source.
	points(ctx context.Context) ([]mutant, error)
	// try runs one test, or all of them when test is empty, against a mutant.
	try(ctx context.Context, m mutant, test string) (verdict, error)
	// close removes what was made for it.
	close()
}

func main() {
	pkg := flag.String("pkg", "", "what to break: agent, or a folder of Go; without it the table is used")
	n := flag.Int("n", 12, "how many mutants")
	seed := flag.Uint64("seed", 1, "same seed, same mutants")
	only := flag.String("only", "", "names of mutants, separated by commas, instead of a draw")
	reason := flag.String("reason", "", "with -only: why no test can notice these; written into the table")
	least := flag.Float64("least", 0.95, "share that must be noticed")
	again := flag.Bool("renew", false, "draw anew for the rows of the table of which the source has changed")
	most := flag.Duration("most", 0, "with -pkg agent: computing for the cases of one mutant, after which the quick tests decide; 0: all cases and tests")
	write := flag.Bool("write", false, "add what was noticed to the table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *reason != "":
		err = judged(ctx, *pkg, *only, *reason)
	case *again:
		err = renew(ctx)
	case *pkg == "":
		err = fromTable(ctx, *n)
	default:
		s := subjectOf(*pkg)
		if agent, ok := s.(*powershell); ok {
			agent.most = *most
		}
		err = fromPackage(ctx, s, *pkg, *only, *n, *seed, *least, *write)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func subjectOf(pkg string) subject {
	if pkg == "agent" {
		return &powershell{}
	}
	return &golang{folder: pkg}
}

// name gives each mutant a name that outlives changes elsewhere in the file: what is replaced by what on which line of
// which function, and the how manieth of those it is. The line is a part of it because otherwise a new literal further up
// would give its name to another one's mutant, with the test that notices that one.
func name(all []mutant) []mutant {
	seen := map[string]int{}
	for i := range all {
		m := &all[i]
		what := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%s\x00%s", m.File, m.Function, m.Kind, m.Text, m.With, m.line)
		seen[what]++
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", what, seen[what]))
		m.id = hex.EncodeToString(sum[:5])
	}
	return all
}

// lineAt is the line of the source around a byte.
func lineAt(raw []byte, at int) string {
	begin := bytes.LastIndexByte(raw[:at], '\n') + 1
	line, _, _ := bytes.Cut(raw[begin:], []byte("\n"))
	return string(bytes.TrimSpace(line))
}

func (m mutant) String() string {
	return fmt.Sprintf("%s %s:%s: %s: %.60q -> %.60q in %.80q", m.id, m.File, cmp.Or(m.Function, "(top)"), m.Kind, m.Text, m.With, m.line)
}

// fromPackage draws from everything there is and runs all tests of the package against each.
func fromPackage(ctx context.Context, s subject, pkg, only string, n int, seed uint64, least float64, write bool) error {
	defer s.close()
	all, err := s.points(ctx)
	if err != nil {
		return err
	}
	rows, err := readTable()
	if err != nil {
		return err
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	fmt.Printf("%s: %d mutants, %d are drawn with seed %d\n", pkg, len(all), n, seed)
	if only != "" {
		all = slices.DeleteFunc(all, func(m mutant) bool { return !slices.Contains(strings.Split(only, ","), m.id) })
		n = len(all)
	}
	tried, noticed, judged := 0, 0, 0
	var survivors []mutant
	for _, m := range all {
		if tried == n || ctx.Err() != nil {
			break
		}
		begun := time.Now()
		known, isKnown := rows[m.id]
		v := verdict{}
		if isKnown && known.test != "-" { // the test that noticed it before is asked first
			if v, err = s.try(ctx, m, known.test); err != nil {
				return err
			}
		}
		if !v.noticed && !v.invalid {
			if v, err = s.try(ctx, m, ""); err != nil {
				return err
			}
		}
		if v.invalid {
			continue
		}
		tried++
		switch {
		case v.noticed:
			noticed++
			fmt.Printf("noticed   %s: by %s (%.0f s)\n", m, v.test, time.Since(begun).Seconds())
			if write && v.test != "" && v.test[0] != '(' {
				if err := addRow(row{m, v.test, ""}); err != nil {
					return err
				}
			}
		case isKnown && known.test == "-":
			judged++
			fmt.Printf("judged    %s: %s\n", m, known.reason)
		default:
			survivors = append(survivors, m)
			why := "no test notices it"
			if v.alone {
				why = "no test comes by"
			}
			fmt.Printf("SURVIVED  %s: %s (%.0f s)\n", m, why, time.Since(begun).Seconds())
		}
	}
	if tried == 0 {
		return fmt.Errorf("%s: nothing was tried", pkg)
	}
	share := float64(noticed+judged) / float64(tried)
	fmt.Printf("%s: %d of %d noticed, %d judged to change nothing, %d survived: %.0f %%\n", pkg, noticed, tried, judged, len(survivors), 100*share)
	if share < least {
		return fmt.Errorf("%s: %.0f %% is less than %.0f %%", pkg, 100*share, 100*least)
	}
	return nil
}

// judged writes survivors into the table with the reason why they may survive.
func judged(ctx context.Context, pkg, only, reason string) error {
	all, err := subjectOf(pkg).points(ctx)
	if err != nil {
		return err
	}
	rows, err := readTable()
	if err != nil {
		return err
	}
	for _, m := range all {
		if slices.Contains(strings.Split(only, ","), m.id) {
			rows[m.id] = row{m, "-", reason}
			fmt.Printf("judged    %s: %s\n", m, reason)
		}
	}
	return writeTable(rows)
}

// committed is the table beside the present source.
type committed struct {
	rows     map[string]row
	subjects map[string]subject
	points   map[string][]mutant // of each package
	here     map[string]mutant   // all of them by name
	without  map[string]bool     // packages that cannot be tried here
	stale    []string            // rows of which the source has changed since
}

func (c *committed) close() {
	for _, s := range c.subjects {
		s.close()
	}
}

func readCommitted(ctx context.Context) (*committed, error) {
	rows, err := readTable()
	if err != nil {
		return nil, err
	}
	c := &committed{rows: rows, subjects: map[string]subject{}, points: map[string][]mutant{}, here: map[string]mutant{}, without: map[string]bool{}}
	for _, id := range sortedIDs(rows) {
		pkg := rows[id].Package
		if _, ok := c.subjects[pkg]; !ok {
			c.subjects[pkg] = subjectOf(pkg)
			points, err := c.subjects[pkg].points(ctx)
			if errors.Is(err, errNoPowerShell) {
				fmt.Printf("%s is left out: %v\n", pkg, err)
				c.without[pkg] = true
			} else if err != nil {
				return nil, err
			}
			c.points[pkg] = points
			for _, m := range points {
				c.here[m.id] = m
			}
		}
		if _, ok := c.here[id]; !ok && !c.without[pkg] {
			c.stale = append(c.stale, id)
		}
	}
	return c, nil
}

// fromTable takes n rows of the table, always the same ones of the same table, and runs the one test that each names.
func fromTable(ctx context.Context, n int) error {
	c, err := readCommitted(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	for _, id := range c.stale {
		fmt.Printf("stale     %s: there is nothing like it in the source any more\n", c.rows[id].mutant)
	}
	fmt.Printf("%d mutants in the table, %d of them of a source that has changed since\n", len(c.rows), len(c.stale))
	if mayRot := max(3, len(c.rows)/10); len(c.stale) > mayRot {
		return fmt.Errorf("%d of %d rows are stale, more than %d: renew them with `make mutants RENEW=yes` and commit %s", len(c.stale), len(c.rows), mayRot, tablePath)
	}
	missed := 0
	taken := c.take(n)
	for _, m := range taken {
		begun := time.Now()
		test := c.rows[m.id].test
		v, err := c.subjects[m.Package].try(ctx, m, test)
		switch {
		case err != nil:
			return err
		case v.noticed:
			fmt.Printf("noticed   %s: by %s (%.0f s)\n", m, test, time.Since(begun).Seconds())
		default:
			missed++
			fmt.Printf("SURVIVED  %s: %s does not notice it any more\n", m, test)
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d were not noticed", missed, len(taken))
	}
	return nil
}

// take chooses n rows of the present source, as evenly over the packages as there are rows. Names are hashes, so the order of
// names is a draw: it depends on the table alone, and a new row moves at most one other out.
func (c *committed) take(n int) []mutant {
	of := map[string][]mutant{}
	for _, id := range slices.Sorted(maps.Keys(c.rows)) {
		if m, ok := c.here[id]; ok && c.rows[id].test != "-" {
			of[m.Package] = append(of[m.Package], m)
		}
	}
	var taken []mutant
	for round := 0; len(taken) < n; round++ {
		before := len(taken)
		for _, pkg := range slices.Sorted(maps.Keys(of)) {
			if round < len(of[pkg]) && len(taken) < n {
				taken = append(taken, of[pkg][round])
			}
		}
		if len(taken) == before {
			break
		}
	}
	return taken
}

// renew puts another mutant of the same package, of the same function where there is one, in the place of each stale row.
func renew(ctx context.Context) error {
	c, err := readCommitted(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	for _, id := range c.stale {
		old := c.rows[id]
		delete(c.rows, id)
		candidates := slices.Clone(c.points[old.Package])
		slices.SortFunc(candidates, func(a, b mutant) int {
			return cmp.Or(cmp.Compare(apart(a, old.mutant), apart(b, old.mutant)), cmp.Compare(a.id, b.id))
		})
		for _, m := range candidates {
			if _, taken := c.rows[m.id]; taken {
				continue
			}
			v, err := c.subjects[m.Package].try(ctx, m, "")
			if err != nil {
				return err
			}
			if !v.noticed || v.test[0] == '(' {
				fmt.Printf("passed by %s: noticed by no test that can be named\n", m)
				continue
			}
			c.rows[m.id] = row{m, v.test, ""}
			fmt.Printf("renewed   %s: by %s, for %s\n", m, v.test, old.mutant)
			break
		}
		if err := writeTable(c.rows); err != nil {
			return err
		}
	}
	fmt.Printf("%d rows are renewed; %d in the table\n", len(c.stale), len(c.rows))
	return nil
}

// apart is 0 for mutants of one function, 1 of one file, 2 else.
func apart(a, b mutant) int {
	switch {
	case a.File != b.File:
		return 2
	case a.Function != b.Function:
		return 1
	}
	return 0
}

func sortedIDs(rows map[string]row) []string {
	ids := make([]string, 0, len(rows))
	for id := range rows {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		x, y := rows[a], rows[b]
		return cmp.Or(cmp.Compare(x.Package, y.Package), cmp.Compare(x.File, y.File), cmp.Compare(x.Function, y.Function), cmp.Compare(a, b))
	})
	return ids
}
