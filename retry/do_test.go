package retry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/retry"
)

var errServer = errors.New("the server failed")

func TestDo(t *testing.T) {
	for _, test := range []struct {
		name     string
		fails    int // attempts that fail, with err
		err      error
		timeout  time.Duration
		attempts int
		want     []error // what the error is; none: success
		longest  time.Duration
	}{
		{"success", 0, nil, 0, 1, nil, 0},
		{"second attempt", 1, errServer, 0, 2, nil, 250 * time.Millisecond},
		{"always", 9, errServer, 0, 3, []error{errServer, retry.ErrAttempts}, 750 * time.Millisecond},
		{"final", 9, retry.Final(errServer), 0, 1, []error{errServer}, 0},
		{"hint", 1, retry.After(errServer, 3*time.Second), 0, 2, nil, 3250 * time.Millisecond},
		{"hint too long", 9, retry.After(errServer, time.Hour), 0, 1, []error{errServer, retry.ErrWait}, 0},
		{"hint past the deadline", 9, retry.After(errServer, 5*time.Second), 2 * time.Second, 1,
			[]error{errServer, retry.ErrDeadline}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.timeout)
					defer cancel()
				}
				began, attempts := time.Now(), 0
				err := retry.Do(ctx, retry.Policy{}, func(context.Context) error {
					if attempts++; attempts <= test.fails {
						return test.err
					}
					return nil
				})
				if attempts != test.attempts {
					t.Errorf("%d attempts, want %d", attempts, test.attempts)
				}
				if (err == nil) != (test.want == nil) {
					t.Errorf("error is %v", err)
				}
				for _, want := range test.want {
					if !errors.Is(err, want) {
						t.Errorf("error %q is not %q", err, want)
					}
				}
				if took := time.Since(began); took > test.longest {
					t.Errorf("took %v, at most %v", took, test.longest)
				}
			})
		})
	}
}

func TestDoFinalIsBare(t *testing.T) {
	err := retry.Do(t.Context(), retry.Policy{}, func(context.Context) error { return retry.Final(errServer) })
	if err != errServer {
		t.Errorf("error is %#v, want the bare one", err)
	}
	if retry.Final(nil) != nil || retry.After(nil, time.Second) != nil {
		t.Error("marking no error made one")
	}
}

func TestDoCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		time.AfterFunc(2*time.Second, func() { cancel(os.ErrClosed) })
		err := retry.Do(ctx, retry.Policy{}, func(context.Context) error {
			return retry.After(errServer, 5*time.Second)
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errServer) {
			t.Errorf("error %v is not both the failure and the cancellation", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("returned after %v, want at once", took)
		}
		err = retry.Do(ctx, retry.Policy{}, func(context.Context) error { panic("sent after the end") })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestBudgetDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, 0.1, 1)
		attempts := 0
		for range 1000 {
			err := b.Do(t.Context(), retry.Policy{}, func(context.Context) error { attempts++; return errServer })
			if err == nil {
				t.Fatal("no error")
			}
		}
		if attempts != 1001 {
			t.Errorf("1,000 failing calls made %d attempts, want 1,001", attempts)
		}
	})
}

func TestErrorTimeout(t *testing.T) {
	slow := &retry.Error{Attempts: 2, Err: fmt.Errorf("asked: %w", os.ErrDeadlineExceeded), Reason: retry.ErrBudget}
	if !slow.Timeout() {
		t.Error("a timeout within is not seen")
	}
	if (&retry.Error{Attempts: 2, Err: errServer, Reason: retry.ErrBudget}).Timeout() {
		t.Error("a plain failure counts as a timeout")
	}
}

func TestDoBadPolicy(t *testing.T) {
	err := retry.Do(t.Context(), retry.Policy{MaxAttempts: 99}, func(context.Context) error { return nil })
	if err == nil {
		t.Error("99 attempts were accepted")
	}
}

// TestAllocations: a call that succeeds at once costs no memory.
func TestAllocations(t *testing.T) {
	budget, err := retry.NewBudget(0.1, retry.BudgetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	good := func(context.Context) error { return nil }
	if n := testing.AllocsPerRun(1000, func() { _ = budget.Do(t.Context(), retry.Policy{}, good) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
