package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// The elements in the order of the schema that Jenkins, GitLab and Azure Pipelines agree on.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr,omitempty"`
	Hostname   string          `xml:"hostname,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	Time    string       `xml:"time,attr"`
	Skipped *junitDetail `xml:"skipped"`
	Error   *junitDetail `xml:"error"`
	Failure *junitDetail `xml:"failure"`
	Out     string       `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a suite per wave and a test case per machine, for pipelines. Failed, and affected in a run that only
// detects, are failures; not reached and in doubt are errors; held, skipped and unfinished machines are skipped.
func (r *Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{Name: "fleetmend run " + prose.Short(r.Run.ID, 0), Time: seconds(r.AsOf.Sub(r.Run.Started))}
	properties := []junitProperty{
		{"run", prose.Short(r.Run.ID, 0)}, {"playbook", prose.Short(r.Run.Playbook, 0)}, {"mode", string(r.Run.Mode)},
		{"operator", prose.Short(r.Run.Operator, 0)}, {"status", string(r.Run.Status)},
	}
	rest := r.Machines // sorted by wave, as r.Waves is
	for _, wave := range r.Waves {
		suite := junitSuite{Name: fmt.Sprintf("wave %d", wave.Number), Hostname: "fleet", Properties: properties, Time: seconds(wave.Ended.Sub(wave.Started))}
		if wave.Number == 0 {
			suite.Name = "left out"
		}
		if !wave.Started.IsZero() {
			suite.Timestamp = wave.Started.UTC().Format("2006-01-02T15:04:05")
		}
		for _, m := range rest[:wave.Machines] {
			suite.add(r.caseOf(m))
		}
		rest = rest[wave.Machines:]
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
		all.Skipped += suite.Skipped
		all.Suites = append(all.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

func (r *Report) caseOf(m Machine) junitCase {
	c := junitCase{Class: "fleetmend", Name: prose.Short(m.Name, 0), Time: seconds(m.Took)}
	if r.Run.Playbook != "" {
		c.Class = prose.Short(r.Run.Playbook, 0)
	}
	f := faceOf(m.Status)
	detail := &junitDetail{Message: f.title, Type: string(m.Status)}
	if m.Error != "" {
		detail.Type += "." + string(m.Error)
	}
	if reason := prose.Short(m.Reason, 0); reason != "" {
		detail.Message += ": " + reason
		detail.Text = reason
	}
	switch m.Status {
	case Status(journal.Fixed), Status(journal.Undone), Status(journal.Clean):
	case Status(journal.Failed), Status(journal.Affected):
		c.Failure = detail
	case Status(journal.Held), Status(journal.Skipped), Running, Waiting:
		c.Skipped = &junitDetail{Message: detail.Message}
	default: // unreachable, unknown, and what a newer journal may say
		c.Error = detail
	}
	var out strings.Builder
	for _, s := range m.Steps {
		fmt.Fprintf(&out, "%s %s: %d changed", s.Action, s.Target, s.Changed)
		if s.Note != "" {
			out.WriteString(" (" + s.Note + ")")
		}
		out.WriteByte('\n')
	}
	c.Out = out.String()
	return c
}

func seconds(d time.Duration) string {
	if d < 0 || d > 10000*time.Hour { // one of the two times is missing
		d = 0
	}
	return fmt.Sprintf("%.3f", d.Seconds())
}
