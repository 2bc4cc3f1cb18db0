import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.PublicKey;
import java.security.Security;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;
import javax.mail.Session;
import javax.mail.internet.MimeBodyPart;
import javax.mail.internet.MimeMessage;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSCompressedData;
import org.bouncycastle.cms.CMSCompressedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.KEKRecipientInformation;
import org.bouncycastle.cms.KeyAgreeRecipientInformation;
import org.bouncycastle.cms.KeyTransRecipientInformation;
import org.bouncycastle.cms.PasswordRecipient;
import org.bouncycastle.cms.PasswordRecipientInformation;
import org.bouncycastle.cms.Recipient;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.RecipientInformationStore;
import org.bouncycastle.cms.SignerInfoGenerator;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKEKEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKEKRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransAuthEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JcePasswordEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JcePasswordRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.ZlibCompressor;
import org.bouncycastle.cms.jcajce.ZlibExpanderProvider;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.mail.smime.SMIMEEnveloped;
import org.bouncycastle.mail.smime.SMIMEEnvelopedGenerator;
import org.bouncycastle.mail.smime.SMIMESignedGenerator;
import org.bouncycastle.mail.smime.validator.SignedMailValidator;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/**
 * Bouncy Castle behind a line protocol: a request is one line of words, an answer one line that
 * begins with "ok" or "error". Octets travel as "=" and their base64, so that none is no octets.
 */
public final class BouncyCastle {
    private static final Provider BC = new BouncyCastleProvider();

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(BC);
        PrintStream out = new PrintStream(System.out, true, "US-ASCII");
        System.setOut(System.err); // the libraries' own words are no answers
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        out.println("ok " + octets(BC.getVersionStr().getBytes(StandardCharsets.US_ASCII)));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                out.println("ok " + octets(answer(line.split(" "))));
            } catch (Throwable failure) {
                out.println("error " + String.valueOf(failure).replaceAll("\\s+", " "));
            }
        }
    }

    private static byte[] answer(String[] words) throws Exception {
        switch (words[0]) {
            case "sign":
                return sign(words);
            case "verify":
                return verify(octets(words[1]), words[2].equals("-") ? null : octets(words[2]));
            case "encrypt":
                return encrypt(words);
            case "decrypt":
                return decrypt(octets(words[1]), words[2].split(":"));
            case "compress":
                return new CMSCompressedDataGenerator()
                        .generate(new CMSProcessableByteArray(octets(words[1])), new ZlibCompressor())
                        .getEncoded();
            case "decompress":
                return new CMSCompressedData(octets(words[1]))
                        .getContent(new ZlibExpanderProvider());
            case "validate-mail":
                return validateMail(words).getBytes("UTF-8");
            case "import":
                return load(octets(words[1]), words[2]).getBytes("UTF-8");
            case "path":
                return path(words).getBytes("UTF-8");
            case "seal-mail":
                return sealMail(words);
            case "open-mail":
                return openMail(octets(words[1]), words[2].split(":"));
            case "cpu":
                return cpu(Integer.parseInt(words[1]), Arrays.copyOfRange(words, 2, words.length));
            default:
                throw new IllegalArgumentException("no such command: " + words[0]);
        }
    }

    private static String octets(byte[] value) {
        return "=" + Base64.getEncoder().encodeToString(value);
    }

    private static byte[] octets(String word) {
        return Base64.getDecoder().decode(word.substring(1));
    }

    // cpu TIMES COMMAND...: nanoseconds of this thread for the command, so many times
    private static byte[] cpu(int times, String[] command) throws Exception {
        ThreadMXBean thread = ManagementFactory.getThreadMXBean();
        long start = thread.getCurrentThreadCpuTime();
        for (int done = 0; done < times; done++) {
            answer(command);
        }
        long used = thread.getCurrentThreadCpuTime() - start;
        return Long.toString(used).getBytes(StandardCharsets.US_ASCII);
    }

    // Certificates and keys are read once, as by a program that holds them
    private static final Map<String, X509Certificate> CERTIFICATES = new HashMap<>();
    private static final Map<String, PrivateKey> KEYS = new HashMap<>();

    private static X509Certificate certificate(String word) throws Exception {
        X509Certificate known = CERTIFICATES.get(word);
        if (known == null) {
            known =
                    (X509Certificate)
                            CertificateFactory.getInstance("X.509", BC)
                                    .generateCertificate(new ByteArrayInputStream(octets(word)));
            CERTIFICATES.put(word, known);
        }
        return known;
    }

    private static PrivateKey privateKey(String word) throws Exception {
        PrivateKey known = KEYS.get(word);
        if (known == null) {
            PrivateKeyInfo info = PrivateKeyInfo.getInstance(octets(word));
            String oid = info.getPrivateKeyAlgorithm().getAlgorithm().getId();
            known =
                    KeyFactory.getInstance(oid, BC)
                            .generatePrivate(new PKCS8EncodedKeySpec(octets(word)));
            KEYS.put(word, known);
        }
        return known;
    }

    // sign opaque|detached issuer|ski CONTENT (ALGORITHM CERTIFICATE KEY)... +CERTIFICATE...
    private static byte[] sign(String[] words) throws Exception {
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        List<X509Certificate> certificates = new ArrayList<>();
        for (int index = 4; index < words.length; index += 3) {
            if (words[index].startsWith("+")) { // comes along
                certificates.add(certificate(words[index].substring(1)));
                index -= 2;
                continue;
            }
            X509Certificate certificate = certificate(words[index + 1]);
            ContentSigner signer =
                    new JcaContentSignerBuilder(words[index])
                            .setProvider(BC)
                            .build(privateKey(words[index + 2]));
            JcaSignerInfoGeneratorBuilder builder =
                    new JcaSignerInfoGeneratorBuilder(
                            new JcaDigestCalculatorProviderBuilder().setProvider(BC).build());
            SignerInfoGenerator made =
                    words[2].equals("ski")
                            ? builder.build(signer, keyIdentifier(certificate))
                            : builder.build(signer, certificate);
            generator.addSignerInfoGenerator(made);
            certificates.add(certificate);
        }
        generator.addCertificates(new JcaCertStore(certificates));
        return generator
                .generate(new CMSProcessableByteArray(octets(words[3])), words[1].equals("opaque"))
                .getEncoded();
    }

    private static byte[] keyIdentifier(X509Certificate certificate) throws Exception {
        byte[] extension = certificate.getExtensionValue("2.5.29.14");
        return Arrays.copyOfRange(extension, 4, extension.length); // two OCTET STRINGs, both short
    }

    // verify CMS CONTENT|-: the content that every signer signed
    private static byte[] verify(byte[] cms, byte[] content) throws Exception {
        CMSSignedData signed =
                content == null
                        ? new CMSSignedData(cms)
                        : new CMSSignedData(new CMSProcessableByteArray(content), cms);
        Collection<SignerInformation> signers = signed.getSignerInfos().getSigners();
        if (signers.isEmpty()) {
            throw new IllegalStateException("nobody signed");
        }
        for (SignerInformation signer : signers) {
            Collection<?> found = signed.getCertificates().getMatches(signer.getSID());
            X509Certificate certificate =
                    new JcaX509CertificateConverter()
                            .setProvider(BC)
                            .getCertificate((X509CertificateHolder) found.iterator().next());
            if (!signer.verify(
                    new JcaSimpleSignerInfoVerifierBuilder().setProvider(BC).build(certificate))) {
                throw new IllegalStateException("a signature is not valid");
            }
        }
        return content != null ? content : (byte[]) signed.getSignedContent().getContent();
    }

    // encrypt CIPHER CONTENT RECIPIENT...
    private static byte[] encrypt(String[] words) throws Exception {
        ASN1ObjectIdentifier cipher = new ASN1ObjectIdentifier(words[1]);
        OutputEncryptor encryptor =
                new JceCMSContentEncryptorBuilder(cipher).setProvider(BC).build();
        CMSProcessableByteArray content = new CMSProcessableByteArray(octets(words[2]));
        boolean authenticated = encryptor instanceof OutputAEADEncryptor;
        CMSEnvelopedGenerator generator =
                authenticated
                        ? new CMSAuthEnvelopedDataGenerator()
                        : new CMSEnvelopedDataGenerator();
        for (String word : Arrays.copyOfRange(words, 3, words.length)) {
            generator.addRecipientInfoGenerator(recipient(word.split(":")));
        }
        return authenticated
                ? ((CMSAuthEnvelopedDataGenerator) generator)
                        .generate(content, (OutputAEADEncryptor) encryptor)
                        .getEncoded()
                : ((CMSEnvelopedDataGenerator) generator).generate(content, encryptor).getEncoded();
    }

    private static RecipientInfoGenerator recipient(String[] parts) throws Exception {
        switch (parts[0]) {
            case "rsa":
                return new JceKeyTransRecipientInfoGenerator(certificate(parts[1])).setProvider(BC);
            case "rsa-ski":
                X509Certificate named = certificate(parts[1]);
                return new JceKeyTransRecipientInfoGenerator(
                                keyIdentifier(named), named.getPublicKey())
                        .setProvider(BC);
            case "oaep": // oaep:DIGEST:MGF DIGEST:LABEL:CERTIFICATE
                AlgorithmIdentifier oaep =
                        new JcaAlgorithmParametersConverter()
                                .getAlgorithmIdentifier(
                                        new ASN1ObjectIdentifier("1.2.840.113549.1.1.7"),
                                        new OAEPParameterSpec(
                                                parts[1],
                                                "MGF1",
                                                new MGF1ParameterSpec(parts[2]),
                                                new PSource.PSpecified(octets(parts[3]))));
                return new JceKeyTransRecipientInfoGenerator(certificate(parts[4]), oaep)
                        .setProvider(BC);
            case "ecdh": // ecdh:AGREEMENT:WRAP:issuer|ski:CERTIFICATE
                X509Certificate certificate = certificate(parts[4]);
                boolean curve = certificate.getPublicKey() instanceof ECPublicKey; // or X25519
                KeyPairGenerator keys =
                        KeyPairGenerator.getInstance(
                                curve ? "EC" : certificate.getPublicKey().getAlgorithm(), BC);
                if (curve) {
                    keys.initialize(((ECPublicKey) certificate.getPublicKey()).getParams());
                }
                KeyPair ephemeral = keys.generateKeyPair();
                JceKeyAgreeRecipientInfoGenerator agreement =
                        new JceKeyAgreeRecipientInfoGenerator(
                                        new ASN1ObjectIdentifier(parts[1]),
                                        ephemeral.getPrivate(),
                                        ephemeral.getPublic(),
                                        new ASN1ObjectIdentifier(parts[2]))
                                .setProvider(BC);
                return parts[3].equals("ski")
                        ? agreement.addRecipient(
                                keyIdentifier(certificate), certificate.getPublicKey())
                        : agreement.addRecipient(certificate);
            case "kem": // kem:WRAP:issuer|ski:CERTIFICATE; 1.72 does not have the class
                X509Certificate holder = certificate(parts[3]);
                Class<?> kem =
                        Class.forName("org.bouncycastle.cms.jcajce.JceKEMRecipientInfoGenerator");
                ASN1ObjectIdentifier wrap = new ASN1ObjectIdentifier(parts[1]);
                Object made =
                        parts[2].equals("ski")
                                ? kem.getConstructor(
                                                byte[].class,
                                                PublicKey.class,
                                                ASN1ObjectIdentifier.class)
                                        .newInstance(
                                                keyIdentifier(holder), holder.getPublicKey(), wrap)
                                : kem.getConstructor(
                                                X509Certificate.class, ASN1ObjectIdentifier.class)
                                        .newInstance(holder, wrap);
                kem.getMethod("setProvider", Provider.class).invoke(made, BC);
                kem.getMethod("setKDF", AlgorithmIdentifier.class)
                        .invoke(
                                made,
                                new AlgorithmIdentifier(
                                        new ASN1ObjectIdentifier("1.2.840.113549.1.9.16.3.28")));
                return (RecipientInfoGenerator) made;
            case "password":
                return new JcePasswordRecipientInfoGenerator(
                                new ASN1ObjectIdentifier("2.16.840.1.101.3.4.1.42"),
                                new String(octets(parts[1]), StandardCharsets.UTF_8).toCharArray())
                        .setProvider(BC)
                        .setPasswordConversionScheme(PasswordRecipient.PKCS5_SCHEME2_UTF8)
                        .setPRF(PasswordRecipient.PRF.HMacSHA256)
                        .setSaltAndIterationCount(new byte[16], 10000);
            case "shared": // shared:IDENTIFIER:KEY
                return new JceKEKRecipientInfoGenerator(
                                octets(parts[1]), new SecretKeySpec(octets(parts[2]), "AES"))
                        .setProvider(BC);
            default:
                throw new IllegalArgumentException("no such recipient: " + parts[0]);
        }
    }

    // decrypt CMS key:KEY | password:PASSWORD | shared:IDENTIFIER:KEY
    private static byte[] decrypt(byte[] cms, String[] key) throws Exception {
        String type =
                org.bouncycastle.asn1.cms.ContentInfo.getInstance(cms).getContentType().getId();
        boolean authenticated = type.equals("1.2.840.113549.1.9.16.1.23");
        RecipientInformationStore store =
                authenticated
                        ? new CMSAuthEnvelopedData(cms).getRecipientInfos()
                        : new CMSEnvelopedData(cms).getRecipientInfos();
        return open(store, key, authenticated);
    }

    private static byte[] open(
            RecipientInformationStore store, String[] key, boolean authenticated)
            throws Exception {
        Exception last = new IllegalStateException("no recipient of this kind");
        for (RecipientInformation one : store.getRecipients()) {
            try {
                if (one instanceof PasswordRecipientInformation && key[0].equals("password")) {
                    return one.getContent(
                            new JcePasswordEnvelopedRecipient(
                                            new String(octets(key[1]), StandardCharsets.UTF_8)
                                                    .toCharArray())
                                    .setPasswordConversionScheme(
                                            PasswordRecipient.PKCS5_SCHEME2_UTF8)
                                    .setProvider(BC));
                }
                if (one instanceof KEKRecipientInformation && key[0].equals("shared")) {
                    return one.getContent(
                            new JceKEKEnvelopedRecipient(new SecretKeySpec(octets(key[2]), "AES"))
                                    .setProvider(BC));
                }
                if (one instanceof KeyTransRecipientInformation && key[0].equals("key")) {
                    PrivateKey mine = privateKey(key[1]);
                    return one.getContent(
                            authenticated
                                    ? new JceKeyTransAuthEnvelopedRecipient(mine).setProvider(BC)
                                    : new JceKeyTransEnvelopedRecipient(mine).setProvider(BC));
                }
                if (one instanceof KeyAgreeRecipientInformation && key[0].equals("key")) {
                    // JceKeyAgreeAuthEnvelopedRecipient came after 1.72; this one checks tags too
                    return one.getContent(
                            new JceKeyAgreeEnvelopedRecipient(privateKey(key[1])).setProvider(BC));
                }
                if (one.getClass().getSimpleName().equals("KEMRecipientInformation")
                        && key[0].equals("key")) {
                    String name = authenticated ? "JceKEMAuthEnveloped" : "JceKEMEnveloped";
                    Class<?> kem =
                            Class.forName("org.bouncycastle.cms.jcajce." + name + "Recipient");
                    Object mine =
                            kem.getConstructor(PrivateKey.class).newInstance(privateKey(key[1]));
                    kem.getMethod("setProvider", Provider.class).invoke(mine, BC);
                    return one.getContent((Recipient) mine);
                }
            } catch (Exception failure) {
                last = failure;
            }
        }
        throw last;
    }

    private static MimeMessage mail(byte[] raw) throws Exception {
        return new MimeMessage(
                Session.getInstance(new Properties()), new ByteArrayInputStream(raw));
    }

    // import PKCS12 PASSWORD: the aliases of the keys in it
    private static String load(byte[] file, String password) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12", BC);
        store.load(new ByteArrayInputStream(file), password.toCharArray());
        StringBuilder found = new StringBuilder();
        for (String alias : Collections.list(store.aliases())) {
            if (store.isKeyEntry(alias) && store.getKey(alias, password.toCharArray()) != null) {
                found.append(alias).append("\n");
            }
        }
        return found.toString();
    }

    // CRL,... or "-" for none
    private static List<Object> crls(String word) throws Exception {
        List<Object> found = new ArrayList<>();
        CertificateFactory factory = CertificateFactory.getInstance("X.509", BC);
        if (!word.equals("-")) {
            for (String one : word.split(",")) {
                found.add(factory.generateCRL(new ByteArrayInputStream(octets(one))));
            }
        }
        return found;
    }

    // validate-mail MESSAGE ANCHOR [CRL,...|-]: what the validator has to say, one line for each
    // thing; with CRLs it asks for them
    private static String validateMail(String[] words) throws Exception {
        PKIXParameters parameters =
                new PKIXParameters(
                        Collections.singleton(new TrustAnchor(certificate(words[2]), null)));
        boolean revocation = words.length > 3;
        parameters.setRevocationEnabled(revocation);
        parameters.setDate(new Date());
        parameters.addCertStore(
                CertStore.getInstance(
                        "Collection",
                        new CollectionCertStoreParameters(crls(revocation ? words[3] : "-"))));
        SignedMailValidator validator = new SignedMailValidator(mail(octets(words[1])), parameters);
        StringBuilder found = new StringBuilder();
        Collection<SignerInformation> signers = validator.getSignerInformationStore().getSigners();
        for (SignerInformation signer : signers) {
            SignedMailValidator.ValidationResult result = validator.getValidationResult(signer);
            found.append("signer ")
                    .append(result.isVerifiedSignature() ? "verified " : "unverified ")
                    .append(result.isValidSignature() ? "valid\n" : "invalid\n");
            for (Object error : result.getErrors()) {
                found.append("error ").append(id(error)).append("\n");
            }
            for (Object note : result.getNotifications()) {
                found.append("note ").append(id(note)).append("\n");
            }
        }
        return found.toString();
    }

    // path MILLISECONDS ANCHOR CERTIFICATE,... CRL,...|-: "good", or what speaks against the path of
    // the first certificate
    private static String path(String[] words) throws Exception {
        List<Object> held = new ArrayList<>();
        for (String one : words[3].split(",")) {
            held.add(certificate(one));
        }
        held.addAll(crls(words[4]));
        X509CertSelector target = new X509CertSelector();
        target.setCertificate((X509Certificate) held.get(0));
        PKIXBuilderParameters parameters =
                new PKIXBuilderParameters(
                        Collections.singleton(new TrustAnchor(certificate(words[2]), null)), target);
        parameters.addCertStore(
                CertStore.getInstance("Collection", new CollectionCertStoreParameters(held)));
        parameters.setRevocationEnabled(true);
        parameters.setDate(new Date(Long.parseLong(words[1])));
        try {
            CertPathBuilder.getInstance("PKIX", BC).build(parameters);
            return "good";
        } catch (CertPathBuilderException failure) {
            Throwable cause = failure;
            while (cause.getCause() != null && cause.getCause() != cause) {
                cause = cause.getCause();
            }
            return String.valueOf(cause.getMessage()).replaceAll("\\s+", " ");
        }
    }

    // The texts live in resource files; the identifier is what a test can compare
    private static String id(Object bundle) throws Exception {
        return (String) bundle.getClass().getMethod("getId").invoke(bundle);
    }

    // seal-mail FROM TEXT ALGORITHM CERTIFICATE KEY CIPHER RECIPIENT: multipart/signed, encrypted
    private static byte[] sealMail(String[] words) throws Exception {
        MimeBodyPart text = new MimeBodyPart();
        text.setText(new String(octets(words[2]), StandardCharsets.UTF_8), "utf-8");
        X509Certificate certificate = certificate(words[4]);
        SMIMESignedGenerator signing = new SMIMESignedGenerator();
        signing.addSignerInfoGenerator(
                new JcaSimpleSignerInfoGeneratorBuilder()
                        .setProvider(BC)
                        .build(words[3], privateKey(words[5]), certificate));
        signing.addCertificates(new JcaCertStore(Collections.singleton(certificate)));
        MimeBodyPart signed = new MimeBodyPart();
        signed.setContent(signing.generate(text));
        SMIMEEnvelopedGenerator encrypting = new SMIMEEnvelopedGenerator();
        encrypting.addRecipientInfoGenerator(recipient(words[7].split(":")));
        MimeBodyPart encrypted =
                encrypting.generate(
                        signed,
                        new JceCMSContentEncryptorBuilder(new ASN1ObjectIdentifier(words[6]))
                                .setProvider(BC)
                                .build());
        MimeMessage message = new MimeMessage(Session.getInstance(new Properties()));
        message.setFrom(new String(octets(words[1]), StandardCharsets.UTF_8));
        message.setContent(encrypted.getContent(), encrypted.getContentType());
        message.saveChanges();
        ByteArrayOutputStream raw = new ByteArrayOutputStream();
        message.writeTo(raw);
        return raw.toByteArray();
    }

    private static byte[] openMail(byte[] raw, String[] key) throws Exception {
        MimeMessage message = mail(raw);
        // bcmail has no class for AuthEnvelopedData: the CMS is what JavaMail takes out
        return message.getContentType().contains("authEnveloped-data")
                ? decrypt(message.getInputStream().readAllBytes(), key)
                : open(new SMIMEEnveloped(message).getRecipientInfos(), key, false);
    }
}
