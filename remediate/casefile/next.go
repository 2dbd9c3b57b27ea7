package casefile

import "time"

// next says what comes next. Every machine that is not done has something.
func next(c *Case, now time.Time) Step {
	switch {
	case c.Out != "":
		return Step{Done, "it does not count: " + c.Out}
	case (c.Verdict == Fixed || c.Verdict == Clean) && (c.Work == nil || !c.Work.Begun): // a run that has not begun with it finds it so
		if c.Exposed {
			return Step{Rotate, "its recovery key was shown and is still in use"}
		}
		return Step{Done, "nothing is left to do"}
	case c.Work != nil && c.Work.Live:
		return Step{Wait, "run " + c.Work.Run + " is at work on it"}
	case c.Work != nil:
		return Step{Resume, "run " + c.Work.Run + " stopped before it was done with it"}
	}
	q := silence(&c.Facts, now)
	switch {
	case c.Route.Name == Hand:
		return Step{ByHand, c.Route.Why}
	case awaited(&c.Facts, now):
		return Step{Wait, "its boot medium was made " + stamp(c.Tried.At) + " (run " + c.Tried.Run + ")"}
	case c.Route.Name == Medium:
		return medium(c)
	case !c.Route.OK:
		return Step{ByHand, c.Route.Why}
	case q.probed && retired(c):
		return Step{ByHand, "it may be out of use: mark it as excluded, or probe it again when somebody has seen it"}
	case q.tried:
		return Step{Probe, "it was silent in run " + c.Tried.Run}
	case c.Tried != nil && c.Tried.Word != "held" && c.Tried.Class == "auth":
		return Step{Retry, "its run stopped at rejected credentials"}
	case c.Tried != nil && c.Tried.Word == "unknown":
		return Step{Retry, "the connection was lost in the middle; asking again is safe"}
	case c.Answer != nil && c.Answer.Word == "failed":
		return Step{Retry, withReason("the fix failed", c.Answer.Reason)}
	case c.Verdict == Affected || c.Verdict == Undone:
		return Step{Fix, c.Because}
	case c.Probe == nil, q.stale, !q.probed && now.Sub(c.Probe.At) >= fresh:
		return Step{Probe, "nobody has looked whether it answers" + sinceDay(c.Probe)}
	}
	return Step{Fix, "it was not examined yet; the run examines first"}
}

// medium says what a machine that is to be started from a boot medium needs first.
func medium(c *Case) Step {
	if c.Encrypted != "no" {
		switch c.Keys {
		case DeniedKey:
			return Step{GetKey, "its recovery key is listed, and may not be read"}
		case WrongKey:
			return Step{GetKey, "what is stored as its recovery key cannot be one"}
		case NoKey, "":
			if c.Encrypted == "yes" {
				return Step{GetKey, "its disk is encrypted and no recovery key is known"}
			}
			return Step{Start, c.Route.Why + "; no recovery key is known, in case its disk is encrypted"}
		case KnownKey, HeldKey, SeveralKey:
		}
	}
	return Step{Start, c.Route.Why}
}

// retired says whether a machine is silent and was not in use before the incident either.
func retired(c *Case) bool {
	return c.Verdict == Unknown && c.Answer == nil && c.Tried == nil
}

func sinceDay(p *Probed) string {
	if p == nil {
		return ""
	}
	return " since " + stamp(p.At)
}
