package compat_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
)

// answersObjects speaks as much of S3 as storing and reading an object takes.
var answersObjects = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"1"`)
	if r.Method == http.MethodGet {
		io.WriteString(w, "an object")
	}
})

func s3Calls(wrapped *http.Client, url string, retryer aws.Retryer) (read, write call) {
	client := s3.New(s3.Options{
		HTTPClient:   wrapped,
		BaseEndpoint: &url,
		UsePathStyle: true,
		Region:       "eu-central-1",
		Retryer:      retryer,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "not one"}, nil
		}),
		DisableLogOutputChecksumValidationSkipped: true,
	})
	bucket, key := aws.String("bucket"), aws.String("key")
	return func(ctx context.Context, _ string) error {
			out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			_, err = io.Copy(io.Discard, out.Body)
			return err
		}, func(ctx context.Context, text string) error {
			object := strings.NewReader(text)
			_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: object})
			return err
		}
}

// The SDK gives its requests no GetBody: it rewinds bodies in its own loop. So a PUT, which could be
// repeated, is sent once by the wrapper, and repeated where the SDK's own retries are on.
var s3Single = subject{
	name:       "aws s3",
	healthy:    answersObjects,
	repeatable: true,
	streams:    true,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		return s3Calls(wrapped, url, aws.NopRetryer{})
	},
}

var s3Loop = subject{
	name:       "aws s3 with its own retries",
	healthy:    answersObjects,
	repeatable: true,
	streams:    true,
	loop:       3,
	loopsOver:  true,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		return s3Calls(wrapped, url, nil) // the SDK's default: three attempts
	},
}

// TestLargeObject: the server refuses before it has read the body, so that the transport may still be
// sending when the SDK rewinds it.
func TestLargeObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{healthy: answersObjects}
		var early atomic.Int32
		transport, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if early.Add(-1) >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			b.ServeHTTP(w, r)
		}))
		wrapped := engine(t, tether.Options{}).Client(&http.Client{Transport: transport})
		_, write := s3Calls(wrapped.Client, url, nil)
		object := strings.Repeat("an object ", 300_000)
		for range 5 {
			early.Store(1)
			if err := write(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := b.arrived(t, 5)[0].body, sha256.Sum256([]byte(object)); got != want {
			t.Error("another object arrived")
		}
	})
}
