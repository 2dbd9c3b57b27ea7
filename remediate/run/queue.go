package run

import (
	"container/heap"
	"time"

	"github.com/fleetmend/fleetmend/remediate/plan"
)

// queue gives out tasks in the order of the plan as far as the limits per site and subnet allow. A machine whose site is
// full holds back only machines of that site. Tasks are kept by (site, subnet), so that a full site of 50,000 machines
// costs one comparison, not 50,000. One goroutine owns a queue.
type queue struct {
	perSite, perSubnet int
	sites, subnets     map[string]int // tasks out
	buckets            map[place]*bucket
	ready              buckets            // with a task, not known to be full
	fullSites          map[string][]place // parked until a task of the site comes back
	fullSubnets        map[string][]place
	delayed            delays
	waiting            int // in buckets
}

// place is where a machine stands, as far as limits are set. Machines without a site or subnet share no limit.
type place struct{ site, subnet string }

type bucket struct {
	place
	tasks tasks
	index int // in ready; -1: parked or empty
}

func newQueue(rules *plan.Options) *queue {
	return &queue{perSite: rules.PerSite, perSubnet: rules.PerSubnet, sites: map[string]int{}, subnets: map[string]int{},
		buckets: map[place]*bucket{}, fullSites: map[string][]place{}, fullSubnets: map[string][]place{}}
}

func (q *queue) placeOf(t *task) (p place) {
	if q.perSite > 0 {
		p.site = t.entry.Site
	}
	if q.perSubnet > 0 {
		p.subnet = t.entry.Subnet
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
		switch {
		case b.site != "" && q.sites[b.site] >= q.perSite:
			heap.Pop(&q.ready)
			q.fullSites[b.site] = append(q.fullSites[b.site], b.place)
			continue
		case b.subnet != "" && q.subnets[b.subnet] >= q.perSubnet:
			heap.Pop(&q.ready)
			q.fullSubnets[b.subnet] = append(q.fullSubnets[b.subnet], b.place)
			continue
		}
		t := heap.Pop(&b.tasks).(*task) //nolint:errcheck,forcetypeassert // a heap of tasks
		if len(b.tasks) > 0 {
			heap.Fix(&q.ready, 0)
		} else {
			heap.Pop(&q.ready)
		}
		q.waiting--
		q.sites[b.site]++
		q.subnets[b.subnet]++
		return t
	}
	return nil
}

// giveBack frees the place of a task that next gave out.
func (q *queue) giveBack(t *task) {
	p := q.placeOf(t)
	q.sites[p.site]--
	q.subnets[p.subnet]--
	q.unpark(q.fullSites, p.site)
	q.unpark(q.fullSubnets, p.subnet)
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
	clear(q.fullSites)
	clear(q.fullSubnets)
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
