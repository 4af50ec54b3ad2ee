// SPDX-License-Identifier: MIT
#include "common/feed/metrics.h"

namespace chatchain::feed {

void AppendMetrics(const HubStats& stats, uint64_t waiting_polls, MetricsText* text) {
  const auto counter = [&](std::string_view name, std::string_view help, uint64_t value) {
    text->Family(name, "counter", help);
    text->Sample(static_cast<double>(value));
  };
  text->Family("chatchain_feed_subscribers", "gauge", "Those who follow the feed live.");
  text->Sample(static_cast<double>(stats.subscribers));
  counter("chatchain_feed_published_total", "Messages that came into the feed.", stats.published);
  counter("chatchain_feed_delivered_total", "Messages given to followers.", stats.delivered);
  counter("chatchain_feed_pages_total", "Pages read for followers that were not at the end.",
          stats.pages);
  counter("chatchain_feed_fell_behind_total",
          "Times that a follower was too slow for what is kept in memory and went on by pages.",
          stats.fell_behind);
  counter("chatchain_feed_gaps_total", "Gaps told to followers.", stats.gaps);
  counter("chatchain_feed_repeats_total", "Messages left out because they had been given.",
          stats.repeats);
  counter("chatchain_feed_ended_total",
          "Followers that were sent away: the feed could not be read.", stats.ended);
  text->Family("chatchain_feed_waiting_polls", "gauge", "Long polls that wait for something new.");
  text->Sample(static_cast<double>(waiting_polls));
}

}  // namespace chatchain::feed
