package run

import (
	"container/heap"
	"time"

	"github.com/fleetmend/fleetmend/remediate/plan"
)

// queue gives out tasks in the order of the plan as far as the limits per site, subnet and route allow. A machine whose site is
// full holds back only machines of that site. Tasks are kept by (site, subnet, route), so that a full site of 50,000 machines
// costs one comparison, not 50,000. One goroutine owns a queue.
type queue struct {
	limits  [limited]func(key string) int // 0: none
	out     [limited]map[string]int       // tasks out
	full    [limited]map[string][]place   // parked until a task of the site, subnet or route comes back
	buckets map[place]*bucket
	ready   buckets // with a task, not known to be full
	delayed delays
	waiting int // in buckets
}

// What limits a machine has: of its site, of its subnet, and of its route.
const limited = 3

// place is where a machine stands, as far as limits are set. Machines without a site or subnet share no limit.
type place [limited]string

type bucket struct {
	place
	tasks tasks
	index int // in ready; -1: parked or empty
}

func newQueue(rules *plan.Options) *queue {
	same := func(n int) func(string) int { return func(string) int { return n } }
	q := &queue{buckets: map[place]*bucket{}, limits: [limited]func(string) int{same(rules.PerSite), same(rules.PerSubnet),
		func(route string) int { return rules.ByRoute[route].Forks }}}
	for i := range limited {
		q.out[i], q.full[i] = map[string]int{}, map[string][]place{}
	}
	return q
}

func (q *queue) placeOf(t *task) place {
	p := place{t.entry.Site, t.entry.Subnet, t.entry.Route}
	for i, key := range p {
		if q.limits[i](key) == 0 {
			p[i] = ""
		}
	}
	return p
}

// add queues a task at its place in the order.
func (q *queue) add(t *task) {
	p := q.placeOf(t)
	b := q.buckets[p]
	if b == nil {
		b = &bucket{place: p, index: -1}
		q.buckets[p] = b
	}
	parked := b.index < 0 && len(b.tasks) > 0
	heap.Push(&b.tasks, t)
	q.waiting++
	switch {
	case b.index >= 0:
		heap.Fix(&q.ready, b.index)
	case !parked:
		heap.Push(&q.ready, b)
	}
}

// next takes the first task that the limits allow, nil when there is none.
func (q *queue) next() *task {
	for len(q.ready) > 0 {
		b := q.ready[0]
		if q.park(b) {
			continue
		}
		t := heap.Pop(&b.tasks).(*task) //nolint:errcheck,forcetypeassert // a heap of tasks
		if len(b.tasks) > 0 {
			heap.Fix(&q.ready, 0)
		} else {
			heap.Pop(&q.ready)
		}
		q.waiting--
		for i, key := range b.place {
			q.out[i][key]++
		}
		return t
	}
	return nil
}

// park takes the first bucket out of those that are ready where a limit is reached.
func (q *queue) park(b *bucket) bool {
	for i, key := range b.place {
		if key != "" && q.out[i][key] >= q.limits[i](key) {
			heap.Pop(&q.ready)
			q.full[i][key] = append(q.full[i][key], b.place)
			return true
		}
	}
	return false
}

// giveBack frees the place of a task that next gave out.
func (q *queue) giveBack(t *task) {
	for i, key := range q.placeOf(t) {
		q.out[i][key]--
		q.unpark(q.full[i], key)
	}
}

func (q *queue) unpark(full map[string][]place, key string) {
	for _, p := range full[key] {
		if b := q.buckets[p]; b.index < 0 && len(b.tasks) > 0 {
			heap.Push(&q.ready, b)
		}
	}
	delete(full, key)
}

// delay keeps a task until a time.
func (q *queue) delay(t *task, until time.Time) {
	t.due = until
	heap.Push(&q.delayed, t)
}

// wake queues the delayed tasks whose time has come, and returns how long the next one has, or false.
func (q *queue) wake(now time.Time) (time.Duration, bool) {
	for len(q.delayed) > 0 {
		if wait := q.delayed[0].due.Sub(now); wait > 0 {
			return wait, true
		}
		q.add(heap.Pop(&q.delayed).(*task)) //nolint:errcheck,forcetypeassert // a heap of tasks
	}
	return 0, false
}

// remove takes out all tasks, queued and delayed, for which drop says so.
func (q *queue) remove(drop func(*task) bool) []*task {
	var out, stay []*task
	sort := func(t *task) {
		if drop(t) {
			out = append(out, t)
		} else {
			stay = append(stay, t)
		}
	}
	for _, b := range q.buckets {
		for _, t := range b.tasks {
			sort(t)
		}
	}
	queued := len(stay)
	for _, t := range q.delayed {
		sort(t)
	}
	q.buckets, q.ready, q.delayed, q.waiting = map[place]*bucket{}, nil, nil, 0
	for i := range limited {
		clear(q.full[i])
	}
	for i, t := range stay {
		if i < queued {
			q.add(t)
		} else {
			q.delay(t, t.due)
		}
	}
	return out
}

func (q *queue) empty() bool { return q.size() == 0 }

func (q *queue) size() int { return q.waiting + len(q.delayed) }

type tasks []*task

func (h tasks) Len() int           { return len(h) }
func (h tasks) Less(i, j int) bool { return h[i].order < h[j].order }
func (h tasks) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *tasks) Push(v any)        { *h = append(*h, v.(*task)) } //nolint:errcheck,forcetypeassert // a heap of tasks
func (h *tasks) Pop() any          { return cutLast((*[]*task)(h)) }

type delays []*task

func (h delays) Len() int           { return len(h) }
func (h delays) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h delays) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delays) Push(v any)        { *h = append(*h, v.(*task)) } //nolint:errcheck,forcetypeassert // a heap of tasks
func (h *delays) Pop() any          { return cutLast((*[]*task)(h)) }

type buckets []*bucket

func (h buckets) Len() int           { return len(h) }
func (h buckets) Less(i, j int) bool { return h[i].tasks[0].order < h[j].tasks[0].order }
func (h buckets) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *buckets) Push(v any) {
	b := v.(*bucket) //nolint:errcheck,forcetypeassert // a heap of buckets
	b.index = len(*h)
	*h = append(*h, b)
}
func (h *buckets) Pop() any {
	b := cutLast((*[]*bucket)(h))
	b.index = -1
	return b
}

func cutLast[T any](list *[]*T) *T {
	last := (*list)[len(*list)-1]
	(*list)[len(*list)-1] = nil
	*list = (*list)[:len(*list)-1]
	return last
}
