// Values on the command line: checks that CLI11 applies while it parses, so that a malformed value
// is a usage error, and the conversions afterwards.
#pragma once

#include "agent/control/records.h"

#include <CLI/App.hpp>

#include <string>
#include <vector>

namespace homeport::agent {

extern const CLI::Validator kIsGiven;  ///< Not empty: "$UNSET" in a script is not "none given".
extern const CLI::Validator kIsIpAddress;
extern const CLI::Validator kIsMacAddress;
extern const CLI::Validator kIsSubnet;
extern const CLI::Validator kIsEndpoint;  ///< "ADDRESS:PORT", "[ADDRESS]:PORT"
extern const CLI::Validator kIsKeyValue;  ///< "KEY=VALUE"
extern const CLI::Validator kIsPathEnd;   ///< as policy::parse_end() takes it
extern const CLI::Validator kIsPorts;     ///< as policy::parse_ports() takes it
extern const CLI::Validator kIsLabel;     ///< of interfaces
extern const CLI::Validator kIsTrafficClass;

// For texts that have passed the check.
std::vector<policy::IpAddress> to_addresses(const std::vector<std::string>& texts);
StringMap to_map(const std::vector<std::string>& key_values);

/// An option that may be given several times, with one value each time.
CLI::Option* add_repeated(CLI::App& command, const std::string& name,
                          std::vector<std::string>& values, const std::string& help);

}  // namespace homeport::agent
