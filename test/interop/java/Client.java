import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import io.spiffe.bundle.jwtbundle.JwtBundle;
import io.spiffe.bundle.x509bundle.X509Bundle;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.spiffeid.TrustDomain;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.workloadapi.DefaultJwtSource;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.DefaultX509Source;
import io.spiffe.workloadapi.JwtSource;
import io.spiffe.workloadapi.Watcher;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.security.cert.CertificateEncodingException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Drives java-spiffe as a workload would, told what to do by the test that started it: a command is one line of JSON on standard
 * input, its answer one line on standard output, and what comes by itself in between is an event.
 */
public final class Client {
  static final Gson JSON = new GsonBuilder().serializeNulls().create();

  private WorkloadApiClient client;
  private DefaultX509Source x509;
  private JwtSource jwts;
  private Mtls mtls;

  /** What the test asks for; each command reads the fields that it knows. */
  private record Command(String what, String trustDomain, String[] audience, String subject, String token, String address,
      String expect, String word, boolean defaults) {
    static Command of(Map<?, ?> json) {
      List<?> audience = json.get("audience") instanceof List<?> list ? list : List.of();
      return new Command(
          (String) json.get("do"),
          (String) json.get("trustDomain"),
          audience.toArray(String[]::new),
          (String) json.get("subject"),
          (String) json.get("token"),
          (String) json.get("address"),
          (String) json.get("expect"),
          (String) json.get("word"),
          Boolean.TRUE.equals(json.get("defaults")));
    }
  }

  public static void main(String[] args) throws Exception {
    var workload = new Client();
    var lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      try {
        write("answer", workload.run(Command.of(JSON.fromJson(line, Map.class))));
      } catch (Exception error) {
        write("failure", reasons(error));
      }
    }
    // The channels' threads would keep the process.
    System.exit(0);
  }

  private Object run(Command asked) throws Exception {
    return switch (asked.what) {
      case "watch" -> watch();
      case "fetch" -> fetch();
      case "source" -> identity(x509.getX509Svid());
      case "bundle" -> bundle(TrustDomain.parse(asked.trustDomain));
      case "jwt" -> jwt(asked);
      case "validate" -> token(client.validateJwtSvid(asked.token, asked.audience[0]));
      case "verify" -> token(JwtSvid.parseAndValidate(asked.token, jwts, Set.of(asked.audience)));
      case "listen" -> mtls.listen(asked.expect, asked.defaults);
      case "dial" -> mtls.dial(asked.address, asked.expect);
      case "open" -> mtls.open(asked.address, asked.expect, asked.defaults);
      case "say" -> mtls.say(asked.address, asked.word);
      default -> throw new IllegalArgumentException(asked.what + " is no command");
    };
  }

  /** Each source is on a connection of its own, as java-spiffe does by default. */
  private Object watch() throws Exception {
    event("opening", null);
    client = DefaultWorkloadApiClient.newClient();
    x509 = DefaultX509Source.newSource();
    jwts = DefaultJwtSource.newSource();
    mtls = new Mtls(x509);
    client.watchX509Context(
        new Watcher<>() {
          @Override
          public void onUpdate(X509Context context) {
            event("update", update(context));
          }

          @Override
          public void onError(Throwable error) {
            event("error", reasons(error));
          }
        });
    return null;
  }

  /** Asks once, outside the sources. */
  private Object fetch() throws Exception {
    try (var once = DefaultWorkloadApiClient.newClient()) {
      return identity(once.fetchX509Context().getDefaultSvid());
    }
  }

  /** What the sources hold for a trust domain, once the agent has said the same. */
  private Object bundle(TrustDomain trustDomain) throws Exception {
    X509Bundle roots = x509.getBundleForTrustDomain(trustDomain);
    JwtBundle keys = jwts.getBundleForTrustDomain(trustDomain);
    if (!roots.equals(client.fetchX509Bundles().getBundleForTrustDomain(trustDomain))) {
      throw new IllegalStateException("the X509Source holds another bundle than the agent serves");
    }
    if (!keys.equals(client.fetchJwtBundles().getBundleForTrustDomain(trustDomain))) {
      throw new IllegalStateException("the JwtSource holds another bundle than the agent serves");
    }
    return Map.of("x509", encoded(roots.getX509Authorities()), "jwt", sorted(keys.getJwtAuthorities().keySet()));
  }

  private Object jwt(Command asked) throws Exception {
    String[] others = Arrays.copyOfRange(asked.audience, 1, asked.audience.length);
    return token(
        asked.subject == null
            ? jwts.fetchJwtSvid(asked.audience[0], others)
            : jwts.fetchJwtSvid(SpiffeId.parse(asked.subject), asked.audience[0], others));
  }

  private static Map<String, Object> update(X509Context context) {
    var bundles = new TreeMap<String, Object>();
    context.getX509BundleSet().getBundles().forEach(
        (trustDomain, bundle) -> bundles.put(trustDomain.toString(), encoded(bundle.getX509Authorities())));
    return Map.of("svids", context.getX509Svids().stream().map(Client::identity).toList(), "bundles", bundles);
  }

  private static Map<String, Object> identity(X509Svid svid) {
    var identity = new HashMap<String, Object>();
    identity.put("id", svid.getSpiffeId().toString());
    identity.put("hint", svid.getHint());
    identity.put("chain", encoded(svid.getChain()));
    return identity;
  }

  private static Map<String, Object> token(JwtSvid svid) {
    return Map.of(
        "id", svid.getSpiffeId().toString(),
        "audience", sorted(svid.getAudience()),
        "expiry", svid.getExpiry().toInstant().getEpochSecond(),
        "token", svid.getToken());
  }

  private static List<String> encoded(Collection<X509Certificate> certificates) {
    var encoded = new ArrayList<String>();
    for (var certificate : certificates) {
      try {
        encoded.add(Base64.getEncoder().encodeToString(certificate.getEncoded()));
      } catch (CertificateEncodingException error) {
        throw new IllegalArgumentException(error);
      }
    }
    return encoded;
  }

  private static List<String> sorted(Collection<String> words) {
    return words.stream().sorted().toList();
  }

  /** java-spiffe keeps what the agent has said in the causes. */
  static String reasons(Throwable error) {
    var reasons = new StringBuilder();
    for (var cause = error; cause != null; cause = cause.getCause()) {
      reasons.append(reasons.isEmpty() ? "" : ": ").append(cause);
    }
    return reasons.toString();
  }

  static void event(String name, Object value) {
    var line = new HashMap<String, Object>();
    line.put("event", name);
    line.put("value", value);
    print(line);
  }

  private static void write(String kind, Object value) {
    var line = new HashMap<String, Object>();
    line.put(kind, value);
    print(line);
  }

  /** An answer and an event never share a line. */
  private static synchronized void print(Map<String, Object> line) {
    System.out.println(JSON.toJson(line));
  }
}
