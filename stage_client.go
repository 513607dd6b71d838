package tether

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/tether-go/tether/internal/random"
)

// client is who an engine is to stages.
type client struct {
	id     string
	given  bool // by Options.ClientID
	kept   bool // by an earlier process
	cohort map[string]string
}

func newClient(o Options) client {
	if o.ClientID != "" {
		return client{id: o.ClientID, given: true, cohort: o.Cohort}
	}
	// A source of its own: the engine's would else give other numbers than before to whoever set a seed.
	rand := random.New(o.Seed).Float64
	var id [16]byte
	for i := range 4 {
		binary.BigEndian.PutUint32(id[4*i:], uint32(rand()*(1<<32)))
	}
	return client{id: hex.EncodeToString(id[:]), cohort: o.Cohort}
}
