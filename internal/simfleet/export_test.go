package simfleet

import "github.com/fleetmend/fleetmend/internal/simfleet/directory"

// Contents builds the directory without serving it.
func (f *Fleet) Contents() (*directory.Tree, error) { return f.contents() }
