package compat_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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
