package winrm_test

import (
	"bytes"
	"context"
	"net"
	"sync"
)

// recorder is a dialer that keeps everything that goes over its connections, both ways.
type recorder struct {
	mu   sync.Mutex
	wire bytes.Buffer
}

func (r *recorder) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &recorded{conn, r}, nil
}

func (r *recorder) add(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wire.Write(b)
}

func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.wire.Bytes())
}

type recorded struct {
	net.Conn
	recorder *recorder
}

func (c *recorded) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.recorder.add(b[:n])
	return n, err
}

func (c *recorded) Write(b []byte) (int, error) {
	c.recorder.add(b)
	return c.Conn.Write(b)
}
