#include "migration/move/peer_message.h"

#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::migration {

namespace errc = boost::system::errc;
using boost::asio::ip::tcp;
using policy::Result;

namespace {

/// Each is tried, for seconds if need be.
constexpr int kMostEndpoints = 16;

}  // namespace

Result<std::vector<tcp::endpoint>> lane_endpoints_of(const Prepared& prepared) {
  if (prepared.lane_endpoints_size() > kMostEndpoints) {
    return policy::make_error(errc::bad_message,
                              fmt::format("it named {} lane endpoints, more than {}",
                                          prepared.lane_endpoints_size(), kMostEndpoints));
  }
  std::vector<tcp::endpoint> endpoints;
  for (const LaneEndpoint& endpoint : prepared.lane_endpoints()) {
    boost::system::error_code error;
    auto address = boost::asio::ip::make_address(endpoint.address(), error);
    if (error || endpoint.port() == 0 || endpoint.port() > 65535) {
      return policy::make_error(
          errc::bad_message, fmt::format("it named a lane endpoint that is none: {} port {}",
                                         policy::printable(endpoint.address()), endpoint.port()));
    }
    endpoints.emplace_back(address, static_cast<std::uint16_t>(endpoint.port()));
  }
  return endpoints;
}

Result<std::vector<RamBlock>> matching_blocks(const Prepare& request,
                                              std::span<const RamBlock> mine) {
  if (static_cast<std::size_t>(request.ram_blocks_size()) != mine.size()) {
    return policy::make_error(errc::invalid_argument,
                              fmt::format("the guest has {} memory blocks there and {} here: use "
                                          "the same launch profile on both hosts",
                                          request.ram_blocks_size(), mine.size()));
  }
  std::vector<RamBlock> matching;
  for (const MoveRamBlock& wanted : request.ram_blocks()) {
    auto same = [&](const RamBlock& block) {
      return block.id == wanted.id() && block.size == wanted.size_bytes();
    };
    auto found = std::ranges::find_if(mine, same);
    // Twice the same would leave another one empty.
    if (found == mine.end() || std::ranges::any_of(matching, same)) {
      return policy::make_error(
          errc::invalid_argument,
          fmt::format("the launch profile \"{}\" makes no memory block \"{}\" of {} bytes here as "
                      "the guest has there: use the same profile on both hosts",
                      policy::printable(request.launch_profile()), policy::printable(wanted.id()),
                      wanted.size_bytes()));
    }
    matching.push_back(*found);
  }
  return matching;
}

}  // namespace homeport::migration
