package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether"
)

const (
	patience = 3 * time.Second // the deadline of each call

	// The plain fleet's retries.
	plainAttempts = 4
	plainDelay    = 100 * time.Millisecond
)

// do sends one call: (*http.Client).Do, or something that goes round it.
type do func(*http.Request) (*http.Response, error)

// fleet is many clients of one backend. They share nothing: each has its own http.Client and its
// own http.Transport, as in processes of their own.
type fleet struct {
	backend    *backend
	clients    []do
	engines    []*tether.Engine // none in the plain fleet: nobody can reach it
	transports []*http.Transport

	answered []atomic.Int64            // by second: calls that started in it and were answered in time
	byPath   map[string][]atomic.Int64 // the same for each path that calls go to
	refused  atomic.Int64              // calls that ended in a tether.RejectedError
	numbers  atomic.Int64              // the number of the newest call, periodic work included
}

func newFleet(b *backend, clients, seconds int) *fleet {
	f := &fleet{backend: b, answered: make([]atomic.Int64, seconds)}
	f.byPath = map[string][]atomic.Int64{}
	for _, path := range steeredPaths {
		f.byPath[path] = make([]atomic.Int64, seconds)
	}
	for range clients {
		f.transports = append(f.transports, &http.Transport{})
	}
	return f
}

// newPlainFleet makes clients that retry as much code does: at once hopeful, and for ever equal.
func newPlainFleet(b *backend, clients, seconds int) *fleet {
	f := newFleet(b, clients, seconds)
	for _, transport := range f.transports {
		client := &http.Client{Transport: transport}
		f.clients = append(f.clients, func(r *http.Request) (*http.Response, error) {
			return retryPlainly(client, r)
		})
	}
	return f
}

// newTetherFleet makes clients with tether's defaults; only the seeds are given, to repeat a run.
func newTetherFleet(b *backend, clients, seconds int, seed uint64) (*fleet, error) {
	f := newFleet(b, clients, seconds)
	seeds := rand.New(rand.NewPCG(seed, 2))
	for _, transport := range f.transports {
		options := tether.Options{Seed: seeds.Uint64() | 1} // 0 would be a random one
		client, err := tether.NewClient(&http.Client{Transport: transport}, options)
		if err != nil {
			return nil, err
		}
		f.clients = append(f.clients, client.Do)
		f.engines = append(f.engines, client.Engine())
	}
	return f, nil
}

// retryPlainly repeats a call on an error, a 5xx and a 429, after 100, 200 and 400 ms: no jitter,
// no budget, and no ear for Retry-After.
func retryPlainly(client *http.Client, r *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := client.Do(r)
		again := err != nil || resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
		if !again || attempt == plainAttempts {
			return resp, err
		}
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		select {
		case <-time.After(plainDelay << (attempt - 1)):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// call makes one call and counts for second whether it was answered within the caller's patience.
func (f *fleet) call(ctx context.Context, client, second int, path string) {
	err := f.ask(ctx, client, path)
	if err == nil {
		f.answered[second].Add(1)
		f.byPath[path][second].Add(1)
	}
	var rejected *tether.RejectedError
	if errors.As(err, &rejected) {
		f.refused.Add(1)
	}
}

// ask sends one request. It returns nil if that was answered well within the caller's patience.
func (f *fleet) ask(ctx context.Context, client int, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.backend.address+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set(clientField, strconv.Itoa(client))
	r.Header.Set(callField, strconv.FormatInt(f.numbers.Add(1), 10))
	resp, err := f.clients[client](r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// kill tells every client that listens to send nothing to the backend until then.
func (f *fleet) kill(version int, until time.Time) error {
	return f.apply(version, []any{map[string]any{
		"name":   "launchday",
		"match":  map[string]string{"host": f.backend.address},
		"until":  until.UTC().Format(time.RFC3339),
		"reason": "the script of launchday says so",
	}})
}

// release takes the kill back.
func (f *fleet) release(version int) error { return f.apply(version, []any{}) }

// apply gives the same document to every client at one moment: how a document travels is the matter
// of the steered acts.
func (f *fleet) apply(version int, kills []any) error {
	document, err := json.Marshal(map[string]any{
		"schema": 1, "document": documentName, "version": version, "kill": kills,
	})
	if err != nil {
		return err
	}
	for _, engine := range f.engines {
		notes, err := engine.Apply(document)
		if err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
		if len(notes) > 0 {
			return fmt.Errorf("version %d did not apply as written: %q", version, notes)
		}
	}
	return nil
}

func (f *fleet) close() {
	for _, transport := range f.transports {
		transport.CloseIdleConnections()
	}
}
