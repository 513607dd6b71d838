package tethergrpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/retry"
)

// statusError gives a status to an error that no server gave one.
type statusError struct {
	error
	status *status.Status
}

func (e *statusError) Unwrap() error              { return e.error }
func (e *statusError) GRPCStatus() *status.Status { return e.status }
func (e *statusError) Timeout() bool              { return e.status.Code() == codes.DeadlineExceeded }
func (e *statusError) Temporary() bool            { return false }

// withStatus lets every error have a status. One that the server gave is found in the error as it is, unless
// the caller's context ended the wait for a further attempt: then its end is the status, as in gRPC itself.
func withStatus(err error) error {
	if err == nil {
		return nil
	}
	var failed *retry.Error
	if errors.As(err, &failed) {
		if code := codeOfContext(failed.Reason); code != codes.OK {
			return &statusError{err, status.New(code, err.Error())}
		}
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	var refused *tether.RejectedError
	if isRefusal(err) && errors.As(err, &refused) && refused.Ended == nil {
		return &statusError{err, statusOf(refused)}
	}
	if code := codeOfContext(err); code != codes.OK {
		return &statusError{err, status.New(code, err.Error())}
	}
	return err
}

// codeOfContext is the code of a context's end; OK for other errors.
func codeOfContext(err error) codes.Code {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.OK
}

// statusOf is RESOURCE_EXHAUSTED for limits of this process's own and UNAVAILABLE for the rest,
// with a RetryInfo where it is known when asking again may help.
func statusOf(refused *tether.RejectedError) *status.Status {
	code := codes.Unavailable
	switch refused.Stage {
	case tether.StageRate, tether.StageConcurrency, tether.StageQueue:
		code = codes.ResourceExhausted
	}
	st := status.New(code, refused.Error())
	if refused.RetryAt.IsZero() {
		return st
	}
	var detail protoadapt.MessageV1 = &errdetails.RetryInfo{
		RetryDelay: durationpb.New(max(0, time.Until(refused.RetryAt)))}
	if detailed, err := st.WithDetails(detail); err == nil {
		return detailed
	}
	return st
}
