package report_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/report"
	"github.com/fleetmend/fleetmend/remediate/route"
)

var began = time.Date(2026, 7, 19, 4, 41, 12, 0, time.UTC)

// fleet makes a run as an incident produces it: waves of 1, 10 and the rest, a few machines off, a few that fail.
func fleet(n int) *report.Report {
	random := rand.New(rand.NewPCG(3, 20))
	run := journal.Run{
		ID: "01K0H6Z9QW7T3M5N8P2R4S6V8X", Started: began, Operator: `CORP\a.meyer`, Playbook: "crowdstrike-channel-file-291",
		Mode: agent.Fix, Status: journal.RunDone, Waves: 3, Finished: 3, Machines: n,
	}
	sites := []string{"LON", "BER", "SIN", "NYC"}
	waveBegin, machines := began.Add(2*time.Second), []journal.Machine{}
	events := []journal.Event{{Seq: 1, Time: began, Kind: "run-started", Text: fmt.Sprintf("%d machines in 3 waves over winrm", n)}}
	seq := int64(1)
	say := func(at time.Time, kind journal.Kind, wave int, text string) {
		seq++
		events = append(events, journal.Event{Seq: seq, Time: at, Kind: kind, Wave: wave, Text: text})
	}
	last := began
	for i := range n {
		wave := 3
		switch {
		case i == 0:
			wave = 1
		case i <= 10:
			wave = 2
		}
		if i == 0 || i == 1 || i == 11 {
			if i > 0 {
				say(last, "wave-ended", wave-1, "the gate is satisfied")
				say(last, "soak", wave-1, "verified again after 30 s")
				waveBegin = last.Add(30 * time.Second)
			}
			say(waveBegin, "wave-started", wave, "")
		}
		m := journal.Machine{
			Target: route.Target{ID: fmt.Sprintf("01K0%022d", i), Name: fmt.Sprintf("WS-%05d", i), Address: fmt.Sprintf("ws-%05d.corp.example", i), Site: sites[random.IntN(4)], Subnet: "10.20.0.0/16", Class: "workstation"},
			Wave:   wave, Route: "winrm", State: journal.Done, Outcome: journal.Fixed, Attempts: 1, Changed: 2, Rebooted: true,
		}
		m.Started = waveBegin.Add(time.Duration(i) * 90 * time.Second / time.Duration(max(n/4, 1)))
		m.Ended = m.Started.Add(time.Duration(38+random.ExpFloat64()*14) * time.Second)
		fill(&m, i, random)
		if m.Ended.After(last) {
			last = m.Ended
		}
		machines = append(machines, m)
	}
	say(last, "wave-ended", 3, "")
	say(last, "run-ended", 0, "done")
	run.Ended = last.Add(time.Second)
	return report.Build(run, machines, events, nil)
}

func fill(m *journal.Machine, i int, random *rand.Rand) {
	end := func(outcome journal.Outcome, class route.Class, reason string) {
		m.Outcome, m.Class, m.Reason, m.Changed, m.Rebooted = outcome, class, reason, 0, false
	}
	switch p := random.IntN(1000); {
	case i < 11:
	case p < 120:
		end(journal.Clean, "", "")
		m.Ended = m.Started.Add(time.Duration(900+random.IntN(900)) * time.Millisecond)
	case p < 170:
		end(journal.Unreachable, route.Unreachable, fmt.Sprintf("%s: connect: dial tcp 10.20.%d.%d:5985: i/o timeout", m.Target.Name, i/250, i%250))
		m.Attempts = 4
		m.Ended = m.Started.Add(95 * time.Second)
	case p < 182:
		end(journal.Unreachable, route.Denied, "access is denied (WSMan fault 5)")
		m.Ended = m.Started.Add(2 * time.Second)
	case p < 205:
		end(journal.Failed, "", "verify does not hold: the file C-00000291-00000000-00000032.sys is there again")
		m.Changed = 1
		m.Result = &agent.Result{Steps: []agent.StepDone{{Action: "quarantine", Target: `C:\Windows\System32\drivers\CrowdStrike\C-00000291*.sys`, Changed: 1}}}
	case p < 210:
		end(journal.Unknown, route.Unknown, "receive: connection reset by peer while the agent was working")
	case p < 216:
		m.Target.Class = "server"
		m.Wave, m.Started, m.Ended, m.Attempts = 0, time.Time{}, time.Time{}, 0
		end(journal.Skipped, "", "no route: the machine has no address")
	}
}
