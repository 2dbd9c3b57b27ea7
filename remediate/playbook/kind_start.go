package playbook

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Services and drivers: both are keys below Services, with a start type.

var serviceKind = stepKind{
	name: "service", keys: []string{"name", "start", "stop"},
	permanent: takenBack,
	is:        func(a Action) bool { return a.Service != nil },
	decode: func(f fields, a *Action) {
		a.Service = f.start("service", serviceStarts)
		if v := f.keys["stop"]; v != nil {
			a.Service.Stop = f.boolean(v, f.path+".stop")
		}
	},
	render: func(o object, a Action) { o.start(*a.Service) },
	describe: func(a Action) string {
		stop := ""
		if a.Service.Stop {
			stop = " and stops it"
		}
		return fmt.Sprintf("Sets the service %s to the start type %s%s.", a.Service.Name, a.Service.Start, stop)
	},
}

var driverKind = stepKind{
	name: "driver", keys: []string{"name", "start"},
	permanent: takenBack,
	is:        func(a Action) bool { return a.Driver != nil },
	decode:    func(f fields, a *Action) { a.Driver = f.start("driver", serviceStarts) },
	render:    func(o object, a Action) { o.start(*a.Driver) },
	describe: func(a Action) string {
		return fmt.Sprintf("Sets the driver %s to the start type %s.", a.Driver.Name, a.Driver.Start)
	},
}

var serviceTestKind = testKind{
	name: "service", keys: []string{"service", "start", "state", "present"},
	compares: `"start", "state" or "present"`,
	is:       func(c Condition) bool { return c.Service != "" },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.Service = d.service(keys["service"], path+".service", "service")
		if v := keys["state"]; v != nil {
			c.State = d.word(v, path+".state", "state", states)
		}
	},
	render: func(o object, c Condition) {
		o.text("service", c.Service)
		o.comparison(c)
	},
	describe: func(c Condition) string { return "the service " + c.Service + " " + comparisonText(c) },
}

var driverTestKind = testKind{
	name: "driver", keys: []string{"driver", "start", "present"},
	compares: `"start" or "present"`,
	is:       func(c Condition) bool { return c.Driver != "" },
	decode: func(d *decoder, keys map[string]*yaml.Node, path string, c *Condition) {
		c.Driver = d.service(keys["driver"], path+".driver", "driver")
	},
	render: func(o object, c Condition) {
		o.text("driver", c.Driver)
		o.comparison(c)
	},
	describe: func(c Condition) string { return "the driver " + c.Driver + " " + comparisonText(c) },
}

func (f fields) start(what string, valid []string) *StartChange {
	c := &StartChange{}
	if v := f.need("name"); v != nil {
		c.Name = f.service(v, f.path+".name", what)
	}
	if v := f.need("start"); v != nil {
		c.Start = StartType(f.word(v, f.path+".start", "start type", valid))
	}
	return c
}

func (o object) start(c StartChange) {
	o.text("name", c.Name)
	o.text("start", string(c.Start))
	o.flag("stop", c.Stop)
}
