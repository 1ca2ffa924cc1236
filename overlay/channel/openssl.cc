#include "overlay/channel/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <cstdio>

namespace homeport::overlay::openssl {
namespace {

using boost::system::errc::invalid_argument;
using boost::system::errc::permission_denied;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, CloseFile>;

policy::Result<FilePtr> open_file(const std::filesystem::path& file, const std::string& what) {
  FilePtr stream(std::fopen(file.c_str(), "re"));
  if (!stream) {
    return policy::errno_error(fmt::format("cannot read the {} {}", what, file.string()));
  }
  return stream;
}

/// An encrypted key must not make a daemon ask at a terminal.
int no_pass_phrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

std::string last_error() {
  unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("OpenSSL error {:#x}", code);
}

policy::Result<std::vector<CertificatePtr>> read_certificates(const std::filesystem::path& file,
                                                              const std::string& what) {
  auto stream = open_file(file, what);
  if (!stream) return stream.error();
  ERR_clear_error();
  std::vector<CertificatePtr> certificates;
  while (X509* certificate = PEM_read_X509(stream->get(), nullptr, no_pass_phrase, nullptr)) {
    certificates.emplace_back(certificate);
  }
  // The end of the file shows as "no start line"; anything else is damage.
  bool damaged = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
  std::string reason = last_error();
  if (certificates.empty() || damaged) {
    return policy::make_error(
        invalid_argument, fmt::format("the {} {} is not a PEM file of certificates ({}): make one "
                                      "with 'homeport pki'",
                                      what, file.string(), reason));
  }
  return certificates;
}

policy::Result<KeyPtr> read_private_key(const std::filesystem::path& file) {
  auto stream = open_file(file, "private key");
  if (!stream) return stream.error();
  struct stat status {};
  if (fstat(fileno(stream->get()), &status) != 0) {
    return policy::errno_error(fmt::format("cannot look at the private key {}", file.string()));
  }
  if ((status.st_mode & 077) != 0) {
    return policy::make_error(
        permission_denied,
        fmt::format("the private key {} is open to group or others (mode {:04o}): chmod 600 it",
                    file.string(), status.st_mode & 07777));
  }
  ERR_clear_error();
  KeyPtr key(PEM_read_PrivateKey(stream->get(), nullptr, no_pass_phrase, nullptr));
  if (!key) {
    return policy::make_error(invalid_argument,
                              fmt::format("{} is not a PEM private key without pass phrase ({})",
                                          file.string(), last_error()));
  }
  return key;
}

}  // namespace homeport::overlay::openssl
