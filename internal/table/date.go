package table

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// Order says which comes first in a date such as 3/4/2026.
type Order string

// The orders. Unsaid takes only dates that cannot be misread.
const (
	Unsaid     Order = ""
	DayFirst   Order = "dmy"
	MonthFirst Order = "mdy"
)

// ParseOrder reads the name of an order; empty is [Unsaid].
func ParseOrder(s string) (Order, error) {
	switch o := Order(strings.ToLower(s)); o {
	case Unsaid, DayFirst, MonthFirst:
		return o, nil
	}
	return Unsaid, hint.Wrap(fmt.Errorf("%q is no order of dates", s), "write dmy where the day comes first (19/07/2024), mdy where the month does (7/19/2024)")
}

// Dates reads the times of one table and remembers in which forms they came. The zero value reads what cannot be misread.
type Dates struct {
	Order Order
	seen  struct{ day, month, both, number int }
}

// Said tells which forms of dates were read, empty where none was in doubt.
func (d *Dates) Said() string {
	var parts []string
	switch {
	case d.Order == DayFirst:
		parts = append(parts, "dates with the day first, as was said")
	case d.Order == MonthFirst:
		parts = append(parts, "dates with the month first, as was said")
	case d.seen.day > 0 && d.seen.month > 0:
		parts = append(parts, "dates with the day first and with the month first")
	case d.seen.day > 0:
		parts = append(parts, "dates with the day first")
	case d.seen.month > 0:
		parts = append(parts, "dates with the month first")
	}
	if d.seen.both > 0 {
		parts = append(parts, fmt.Sprintf("%d left out that can be read with the day or the month first", d.seen.both))
	}
	if d.seen.number > 0 {
		parts = append(parts, fmt.Sprintf("%d as Excel's numbers of days", d.seen.number))
	}
	return strings.Join(parts, ", ")
}

// Read is [Dates.Parse] with an error that says what to do.
func (d *Dates) Read(text string) (time.Time, error) {
	t, err := d.Parse(text)
	if err != nil {
		return t, fmt.Errorf("%q %w", clip(text), err)
	}
	return t, nil
}

// ErrBothOrders is a date that is two days.
var ErrBothOrders = errors.New("can be read with the day or the month first (say which with --date-order dmy or mdy)")

// errNoTime is what no form fits.
var errNoTime = errors.New("is no time (write 2024-07-19 or 2024-07-19T04:09:00Z)")

// fixed are the forms that mean one time. Without a zone they are taken as UTC.
var fixed = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999 -07:00",
	"2006-01-02 15:04:05.999999999 UTC", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
	"2006/1/2 15:04:05", "2006/1/2 15:04", "2006/1/2", "20060102150405.0Z", "20060102150405Z", "20060102",
	"2.1.2006 15:04:05", "2.1.2006 15:04", "2.1.2006", "2.1.06 15:04:05", "2.1.06 15:04", "2.1.06",
	"2 Jan 2006 15:04:05", "2 Jan 2006 15:04", "2 Jan 2006", "2-Jan-2006", "2-Jan-06",
	"Jan 2, 2006 3:04:05 PM", "Jan 2, 2006 3:04 PM", "Jan 2, 2006",
	"January 2, 2006 3:04:05 PM", "January 2, 2006 3:04 PM", "January 2, 2006",
	"Monday, January 2, 2006 3:04:05 PM", "Monday, January 2, 2006 3:04 PM", "Monday, January 2, 2006",
	"Monday, 2 January 2006 15:04:05", "Monday, January 2, 2006 15:04:05",
}

var (
	slashed = lazyregexp.New(`^([0-9]{1,2})([/-])([0-9]{1,2})[/-]([0-9]{4}|[0-9]{2})(?:,? +([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?:\.[0-9]+)?(?: *([AaPp])\.? ?[Mm]\.?)?)?$`)
	dotNet  = lazyregexp.New(`^\\?/Date\((-?[0-9]+)(?:[+-][0-9]{4})?\)\\?/$`)
	days    = lazyregexp.New(`^[2-7][0-9]{4}(?:[.,][0-9]+)?$`)
	cim     = lazyregexp.New(`^([0-9]{14})\.[0-9]{6}([+-])([0-9]{3})$`)
)

// Parse reads a time as directories, portals, PowerShell and spreadsheets write it. The zero time without an error is
// what stands for "never": words, and the first and last days of calendars. A date such as 3/4/2026 gives
// [ErrBothOrders] unless the order was said.
func (d *Dates) Parse(text string) (time.Time, error) {
	if len(text) == len("2024-07-19T04:09:00Z") && text[10] == 'T' { // as we write it ourselves, by the thousand
		if t, err := time.Parse(time.RFC3339, text); err == nil && t.Year() > 1601 && t.Year() <= 2200 {
			return t.UTC(), nil
		}
	}
	s := asciiTime(text)
	switch strings.ToLower(s) {
	case "", "-", "0", "never", "nie", "n/a", "none", "null", "unknown":
		return time.Time{}, nil
	}
	t, err := d.parse(s)
	switch {
	case err != nil:
		return time.Time{}, err
	case t.Year() <= 1601 || t.Year() >= 9999:
		return time.Time{}, nil
	case t.Year() > 2200:
		return time.Time{}, fmt.Errorf("is in the year %d, which is of another calendar (write 2024-07-19)", t.Year())
	}
	return t.UTC(), nil
}

func (d *Dates) parse(s string) (time.Time, error) {
	for _, layout := range fixed {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if m := dotNet.FindStringSubmatch(s); m != nil {
		ms, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return time.Time{}, errNoTime
		}
		return time.UnixMilli(ms).UTC(), nil
	}
	if m := cim.FindStringSubmatch(s); m != nil { // CIM_DATETIME, DSP0004 5.2.4: the offset is in minutes
		t, err := time.Parse("20060102150405", m[1])
		minutes, _ := strconv.Atoi(m[2] + m[3])
		if err != nil {
			return time.Time{}, errNoTime
		}
		return t.Add(-time.Duration(minutes) * time.Minute), nil
	}
	// A FILETIME, as raw directory attributes have it: 100 ns since 1601 (MS-DTYP 2.3.3).
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) >= 18 {
		const epoch = 116444736000000000
		return time.Unix((n-epoch)/1e7, (n-epoch)%1e7*100).UTC(), nil
	}
	if days.MatchString(s) {
		n, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
		if err != nil {
			return time.Time{}, errNoTime
		}
		d.seen.number++
		return time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC).Add(time.Duration(math.Round(n*86400)) * time.Second), nil
	}
	return d.slashed(s)
}

// slashed reads a/b/year and a-b-year with an optional time of day.
func (d *Dates) slashed(s string) (time.Time, error) {
	m := slashed.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, errNoTime
	}
	at := func(i int) int { n, _ := strconv.Atoi(m[i]); return n } // digits only, by the pattern
	a, b, year := at(1), at(3), at(4)
	if len(m[4]) == 2 {
		year += 2000
	}
	hour, minute, second := at(5), at(6), at(7)
	if m[8] != "" {
		if hour < 1 || hour > 12 {
			return time.Time{}, errNoTime
		}
		hour %= 12
		if m[8] == "p" || m[8] == "P" {
			hour += 12
		}
	}
	if hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, errNoTime
	}
	of := func(day, month int) (time.Time, bool) {
		t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
		return t, month >= 1 && month <= 12 && day >= 1 && t.Day() == day
	}
	dayFirst, isDay := of(a, b)
	monthFirst, isMonth := of(b, a)
	switch {
	case !isDay && !isMonth:
		return time.Time{}, errNoTime
	case isDay && isMonth && a != b:
		switch d.Order {
		case DayFirst:
			return dayFirst, nil
		case MonthFirst:
			return monthFirst, nil
		}
		d.seen.both++
		return time.Time{}, ErrBothOrders
	case isDay && isMonth:
		return dayFirst, nil
	case isDay && d.Order == MonthFirst, isMonth && d.Order == DayFirst:
		return time.Time{}, fmt.Errorf("is no date in the order %s, which was said", d.Order)
	case isDay:
		d.seen.day++
		return dayFirst, nil
	}
	d.seen.month++
	return monthFirst, nil
}

// asciiTime brings blanks, marks of direction and digits of other scripts into their plain form; ICU and with it
// PowerShell 7 writes U+202F before AM and PM.
func asciiTime(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r < 0x80:
			return r
		case r == '\u200e', r == '\u200f', r == '\u061c':
			return -1
		case unicode.IsSpace(r), r == '\u202f':
			return ' '
		case r >= '٠' && r <= '٩':
			return '0' + r - '٠'
		case r >= '۰' && r <= '۹':
			return '0' + r - '۰'
		}
		return r
	}, s))
}
