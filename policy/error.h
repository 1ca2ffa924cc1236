// The one error policy of the house: functions that can fail return Result<T>.
//
// An Error is a code to branch on and a sentence for a person: what went wrong, with the values
// concerned, and what to do about it. Each folder may have an error category of its own; the
// generic category serves for what the operating system reports. Cancellation is
// boost::system::errc::operation_canceled: it is not a failure and is not reported as one.
// Exceptions are for starting up only; what a peer, a file or a database sends never throws past
// the parser and never asserts.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>
#include <boost/system/system_error.hpp>

#include <cerrno>
#include <string>
#include <utility>

namespace homeport::policy {

struct Error {
  boost::system::error_code code;
  std::string message;  ///< A full sentence for a person; never empty.

  bool cancelled() const { return code == boost::system::errc::operation_canceled; }
};

template <class T>
using Result = boost::system::result<T, Error>;

/// The error `code` of the generic category, with a sentence.
inline Error make_error(boost::system::errc::errc_t code, std::string message) {
  return {boost::system::errc::make_error_code(code), std::move(message)};
}

/// An error from errno; `message` is followed by the system's own words.
inline Error errno_error(std::string message, int error = errno) {
  boost::system::error_code code(error, boost::system::generic_category());
  return {code, std::move(message) + ": " + code.message()};
}

/// Puts `context` before the sentence of an error that is passed up.
inline Error with_context(std::string context, Error error) {
  error.message = std::move(context) + ": " + error.message;
  return error;
}

[[noreturn]] inline void throw_exception_from_error(const Error& error,
                                                    const boost::source_location& where) {
  boost::throw_with_location(boost::system::system_error(error.code, error.message), where);
}

}  // namespace homeport::policy
